"""
The gate: what is an Astro API token, and what it says of itself.

An Astro API token is a JWT that Astro signs and checks; here its signature is never checked, only its form.
The form matters, because the Astro CLI puts it into an HTTP header, a YAML file and a bash command line:
nothing but `[A-Za-z0-9_-]` and two dots gets past this module.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from astro_token.errors import InvalidTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import is_ciphertext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef

__all__ = ["IDENTIFIER", "MAX_TOKEN_BYTES", "SCOPES", "AstroToken", "Scope", "normalise"]

Scope = Literal["organization", "workspace", "deployment"]
SCOPES: tuple[Scope, ...] = ("organization", "workspace", "deployment")  # from wide to narrow

# An environment variable of 128 KiB fails in exec; real tokens have about 1 KiB.
MAX_TOKEN_BYTES = 16 * 1024
_GRAMMAR = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Identifiers go into a YAML file and onto terminals.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_BLANK = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class AstroToken:
    """
    An Astro API token and its claims, which are Astro's word only once Astro has accepted the token.

    Attributes:
        secret: the token's text, and the version of the secret it was read from.
        scope: the narrowest kind of identifier among its permissions.
        organization, workspace, deployment: those identifiers; None where it names none.
            Where it names several of a kind, the last, as the Astro CLI takes it.
        token_id: Astro's identifier of the token, with which it can be looked up.
        issued, not_before, expires: aware times in UTC; None where the claim is missing.
        ref: where it was read from; None where it was not read by reference.
        doubts: what makes it unlikely that Astro accepts it, as verdict codes; most tokens have none.
    """

    secret: SecretValue
    scope: Scope
    organization: str | None = None
    workspace: str | None = None
    deployment: str | None = None
    token_id: str | None = None
    issued: datetime | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    doubts: tuple[str, ...] = ()
    ref: SecretRef | None = None

    @classmethod
    def parse(cls, value: SecretValue) -> AstroToken:
        """
        Lets a value through if it is an Astro API token, expired or not.

        Line ends and blanks around it, a byte-order mark, one matched pair of quotes and a `Bearer ` prefix
        are taken off first: backends and people add them, and each of them breaks the Astro CLI obscurely.

        Raises:
            InvalidTokenError: it is no such token. The message tells the kind of defect only.
        """
        secret = normalise(value)
        parsed = _parse(secret)
        if isinstance(parsed, AstroToken):
            return parsed
        raise InvalidTokenError(
            f"the value is no Astro API token: {parsed}",
            hint="it looks like ciphertext: name its key, as in --decrypt vault-transit:astro"
            if is_ciphertext(secret)
            else "store the token as Astro showed it when it was created, or create a new one",
        )

    def reveal(self) -> str:
        """The token's text, for whoever hands it on."""
        return self.secret.reveal().decode("ascii")


def normalise(value: SecretValue) -> SecretValue:
    """Takes off what backends and people put around a token."""
    data = value.reveal()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes files
        data = data.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    data = data.removeprefix(b"\xef\xbb\xbf").strip(_BLANK)
    if len(data) > 1 and data[:1] == data[-1:] and data[:1] in {b'"', b"'"}:
        data = data[1:-1].strip(_BLANK)
    if data[:7].lower() == b"bearer ":
        data = data[7:].strip(_BLANK)
    return SecretValue(data, value.version)


# The functions below return their complaint instead of raising it,
# so that no frame that holds a part of the value is ever part of a traceback.


def _parse(secret: SecretValue) -> AstroToken | str:
    data = secret.reveal()
    if not data:
        return "it is empty"
    if len(data) > MAX_TOKEN_BYTES:
        return f"it is longer than {MAX_TOKEN_BYTES} bytes"
    if not _GRAMMAR.fullmatch(data):
        return "it has not the form of three parts of letters, digits, - and _ with dots between them"
    header_text, claims_text, signature = data.split(b".")
    header, claims = _decode(header_text), _decode(claims_text)
    if header is None or not isinstance(header.get("alg"), str):
        return "its first part is damaged or cut off"
    if claims is None:
        return "its second part is damaged or cut off"
    times = [_time(claims.get(name)) for name in ("iat", "nbf", "exp")]
    if any(time is False for time in times):
        return "its iat, nbf or exp is no number"
    names = _names(claims.get("permissions"))
    if isinstance(names, str):
        return names
    token_id = claims.get("apiTokenId")
    if token_id is not None and not _identifies(token_id):
        return "its apiTokenId is malformed"
    issued, not_before, expires = (time or None for time in times)
    return AstroToken(
        secret=secret,
        scope="deployment"
        if "deployment" in names
        else "workspace"
        if "workspace" in names
        else "organization",
        organization=names.get("organization"),
        workspace=names.get("workspace"),
        deployment=names.get("deployment"),
        token_id=token_id,
        issued=issued,
        not_before=not_before,
        expires=expires,
        doubts=_doubts(header["alg"], len(signature)),
    )


def _decode(part: bytes) -> dict[str, Any] | None:
    from base64 import urlsafe_b64decode

    try:
        text = urlsafe_b64decode(part + b"=" * (-len(part) % 4)).decode()
        decoded = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _no_constant(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity are Python's own


def _names(permissions: object) -> dict[str, str] | str:
    """The identifiers among the permissions, which look like `workspaceId:clx…`; or a complaint."""
    if permissions is None or permissions == []:
        return "it carries no permissions, as the token of a person's login does"
    if not isinstance(permissions, list) or not all(isinstance(entry, str) for entry in permissions):
        return "its permissions are malformed"
    names: dict[str, str] = {}
    for entry in permissions:
        kind, colon, name = entry.partition(":")
        if not colon:  # the Astro CLI ends in a panic on such a one
            return "one of its permissions has no colon"
        if kind.endswith("Id") and kind.removesuffix("Id") in SCOPES:
            if not _identifies(name):
                return "one of its permissions is malformed"
            names[kind.removesuffix("Id")] = name
    return names


def _identifies(text: object) -> bool:
    return isinstance(text, str) and IDENTIFIER.fullmatch(text) is not None


def _time(seconds: object) -> datetime | Literal[False] | None:
    """Seconds since 1970 as a time; None where there is no claim; False where it is no number."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return False
    if seconds < 0:
        return datetime.fromtimestamp(0, UTC)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _END_OF_TIME


# The shortest signature of each family in bytes (RFC 7518), to tell a token that was cut off at its end.
_SHORTEST: Mapping[str, int] = {"RS": 256, "PS": 256, "ES": 64}


def _doubts(algorithm: str, signature_length: int) -> tuple[str, ...]:
    size = signature_length * 3 // 4
    whole = signature_length % 4 != 1 and size >= _SHORTEST.get(algorithm[:2], 0)
    return () if whole else ("signature-cut",)
