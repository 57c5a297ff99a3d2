"""What is done with the token before a command runs."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .block_yaml import Plain
from .errors import NIL, CommandError, PanicError

if TYPE_CHECKING:
    from .api import Api
    from .config import Config

DEFAULT_DOMAIN = "astronomer.io"
DEAD_KEYS = (
    "\nWarning: Starting June 1st, 2024, Deployment API Keys will stop working. "
    "To ensure uninterrupted access to our services, "
    "we strongly recommend transitioning to Deployment API tokens. "
    "See https://www.astronomer.io/docs/astro/deployment-api-tokens"
)
MALFORMED = "token is invalid or malformed"
EXPIRED = "the API token given has expired"
_SIZED = {f"{kind}{size}" for kind in ("HS", "RS", "ES", "PS") for size in (256, 384, 512)}
ALGORITHMS = {"none", "EdDSA", *_SIZED}
TEXT_CLAIMS = ("org_id", "scope", "version", "kid", "apiTokenId", "iss", "sub", "jti")


def decode(segment: str) -> Any:
    """As Go does it: line ends are passed over, padding is refused, broken UTF-8 is replaced."""
    text = segment.replace("\r", "").replace("\n", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise CommandError(MALFORMED)
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(data.lstrip())[0]
    except (ValueError, binascii.Error):
        raise CommandError(MALFORMED) from None


def _refuse(_text: str) -> NoReturn:
    raise ValueError


class Claims(NamedTuple):
    permissions: tuple[str, ...]
    expires: float | None
    token_id: str


def parse_token(token: str) -> Claims:
    """Without a look at the signature. Which words the real one adds to `malformed` nobody gets to see."""
    parts = token.split(".")
    if len(parts) != 3:
        raise CommandError(MALFORMED)
    head, body = decode(parts[0]), decode(parts[1])
    if not isinstance(head, dict) or not isinstance(body, dict) or head.get("alg") not in ALGORITHMS:
        raise CommandError(MALFORMED)
    claims = {name.lower(): value for name, value in body.items()}  # Go matches names in any case
    permissions = claims.get("permissions") or []
    texts = [claims.get(name.lower()) or "" for name in TEXT_CLAIMS]
    if not isinstance(permissions, list) or not all(isinstance(text, str) for text in [*permissions, *texts]):
        raise CommandError(MALFORMED)
    try:
        expires = None if claims.get("exp") is None else float(claims["exp"])
    except (TypeError, ValueError):
        raise CommandError(MALFORMED) from None
    return Claims(tuple(permissions), expires, claims.get("apitokenid") or "")


def check_api_token(cfg: Config, api: Api, token: str, *, quiet: bool) -> None:
    from datetime import UTC, datetime, timedelta

    if not quiet:
        print("Using an Astro API Token")
    try:
        context = cfg.context()
    except CommandError:
        cfg.create_context(os.environ.get("ASTRO_DOMAIN") or DEFAULT_DOMAIN)
        context = cfg.context()
    domain = context["domain"]
    cfg.set_field(domain, "token", f"Bearer {token}")  # before anything was checked
    # A moment in time taken for a duration: the year comes out in the 2080s.
    now = datetime.now(UTC)
    expiry = now + timedelta(seconds=int((now + timedelta(days=365)).timestamp()))
    cfg.set_field(domain, "expiresin", Plain(expiry.isoformat().replace("+00:00", "Z")))

    claims = parse_token(token)
    if not claims.permissions:
        raise CommandError("the API token given does not appear to be an Astro API Token")
    if claims.expires is not None and claims.expires < time.time():
        print(f"The given API Token {claims.token_id} has expired ")
        raise CommandError(EXPIRED)
    # Whether a Deployment token carries `deploymentId`, `workspaceId` or both is not known:
    # the first of them would not be looked at.
    found = {"workspaceId": "", "organizationId": ""}
    for permission in claims.permissions:
        kind, *rest = permission.split(":")
        if not rest:
            raise PanicError("index out of range [1] with length 1")
        found[kind] = rest[0]
    organizations = api.organizations()
    if not organizations:
        raise PanicError("index out of range [0] with length 0")
    product = organizations[0].get("product")
    if product is None:
        raise PanicError(NIL)
    cfg.set_field(domain, "workspace", found["workspaceId"] or context["workspace"])
    cfg.set_field(domain, "organization", found["organizationId"])
    cfg.set_field(domain, "organization_product", product)


def set_up(cfg: Config, api: Api, *, quiet: bool) -> None:
    """Before every command but a few. Whatever fails here, two errors apart, is passed over in silence."""
    try:
        if token := os.environ.get("ASTRO_API_TOKEN"):
            check_api_token(cfg, api, token, quiet=quiet)
        elif os.environ.get("ASTRONOMER_KEY_ID") and os.environ.get("ASTRONOMER_KEY_SECRET") and not quiet:
            print(f"Using an Astro API key\n{DEAD_KEYS}")
        # Else a stored login is used, or renewed, or asked for anew: the last two fail here unheard.
    except CommandError as failure:
        if MALFORMED in str(failure):
            raise CommandError("API Token is invalid or malformed", usage=True) from None
        if EXPIRED in str(failure):
            raise CommandError("API Token is expired", usage=True) from None
