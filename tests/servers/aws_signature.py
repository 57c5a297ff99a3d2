"""
AWS's Signature Version 4, computed anew from the published rules to check a request that somebody signed.

Knows keys with and without a session. Times may differ by 15 minutes, as at AWS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_SKEW = 900
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([a-z0-9-]+)/(\w+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


class InvalidSignatureError(Exception):
    """The text says what is wrong, as AWS would."""


@dataclass(frozen=True, slots=True)
class Key:
    """
    Attributes:
        arn: whom it stands for.
        session: the session token that has to come with it; empty for a key that lasts.
    """

    arn: str
    id: str
    secret: str
    session: str = ""

    @classmethod
    def make(cls, arn: str, *, session: bool = False) -> Key:
        prefix = "ASIA" if session else "AKIA"
        token = secrets.token_urlsafe(90) if session else ""
        return cls(arn, f"{prefix}{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), token)

    @property
    def environment(self) -> dict[str, str]:
        variables = {"AWS_ACCESS_KEY_ID": self.id, "AWS_SECRET_ACCESS_KEY": self.secret}
        return {**variables, **({"AWS_SESSION_TOKEN": self.session} if self.session else {})}


def signer(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Mapping[str, Key],
    place: tuple[str, str],
) -> Key:
    """
    The key that signed a request.

    Args:
        headers: as they were sent, without regard to case.
        keys: those that exist, by their ids.
        place: the region and the service that the request was made for.

    Raises:
        InvalidSignatureError: none did, or not now, or not for this place.
    """
    lower = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    address = urlsplit(url)
    lower.setdefault("host", address.netloc)
    found = _AUTHORIZATION.fullmatch(lower.get("authorization", ""))
    if found is None:
        raise InvalidSignatureError("IncompleteSignature")
    key = keys.get(found[1])
    if key is None or not hmac.compare_digest(key.session, lower.get("x-amz-security-token", "")):
        raise InvalidSignatureError("InvalidClientTokenId")
    day, region, service, signed = found[2], found[3], found[4], found[5].split(";")
    if (region, service) != place:
        raise InvalidSignatureError("SignatureDoesNotMatch: credential should be scoped to a valid region")
    time = lower.get("x-amz-date", "")
    _see_that_it_is_now(time, day)
    must = {"host", "x-amz-date", *(["x-amz-security-token"] if key.session else [])}
    if not must <= set(signed) or signed != sorted(signed) or not set(signed) <= set(lower):
        raise InvalidSignatureError("SignatureDoesNotMatch: headers")
    canonical = "\n".join(
        [
            method,
            address.path or "/",
            address.query,
            *(f"{name}:{lower[name]}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{key.secret}".encode()
    for part in (day, region, service, "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(signing, text.encode(), "sha256").hex(), found[6]):
        raise InvalidSignatureError("SignatureDoesNotMatch")
    return key


def _see_that_it_is_now(time: str, day: str) -> None:
    try:
        when = datetime.strptime(time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidSignatureError("IncompleteSignature: date") from None
    if not time.startswith(day) or abs((datetime.now(UTC) - when).total_seconds()) > _SKEW:
        raise InvalidSignatureError("SignatureDoesNotMatch: signature expired")
