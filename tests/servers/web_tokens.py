"""JSON Web Tokens: made and checked, RS256 and ES256."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_SKEW = 60  # seconds that clocks may differ


class InvalidTokenError(Exception):
    """
    Attributes:
        why: `malformed`, `signature`, `expired`, `not yet valid` or `audience`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def algorithm(key: PrivateKey | PublicKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) else "ES256"


def sign(claims: Mapping[str, object], key: PrivateKey, **header: str) -> str:
    head = {"alg": algorithm(key), "typ": "JWT", **header}
    signed = ".".join(encode(json.dumps(dict(part)).encode()) for part in (head, claims))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{encode(signature)}"


def header(token: str) -> dict[str, Any]:
    """
    The header, unverified.

    Raises:
        InvalidTokenError: it is no token.
    """
    return _part(token, 0)


def claims(token: str) -> dict[str, Any]:
    """
    The claims, unverified.

    Raises:
        InvalidTokenError: it is no token.
    """
    return _part(token, 1)


def verify(token: str, key: PublicKey, *, audiences: Collection[str] | None = None) -> dict[str, Any]:
    """
    The claims of a token that this key signed, whose time is now and that is meant for us.

    Raises:
        InvalidTokenError: one of these is not so.
    """
    found = claims(token)
    signed, _, signature = token.rpartition(".")
    try:
        _check(signed.encode(), decode(signature), key, header(token).get("alg"))
    except (InvalidSignature, ValueError):
        raise InvalidTokenError("signature") from None
    now = time.time()
    if not _number(found.get("exp")) or found["exp"] <= now:
        raise InvalidTokenError("expired")
    if any(_number(found.get(name)) and found[name] > now + _SKEW for name in ("iat", "nbf")):
        raise InvalidTokenError("not yet valid")
    given = found.get("aud")
    if audiences is not None and not set(given if isinstance(given, list) else [given]) & set(audiences):
        raise InvalidTokenError("audience")
    return found


def _check(signed: bytes, signature: bytes, key: PublicKey, claimed: object) -> None:
    # The algorithm is the key's, never the token's choice.
    if claimed != algorithm(key):
        raise ValueError("algorithm")
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        return
    if len(signature) != 64:
        raise ValueError("length")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def _part(token: str, number: int) -> dict[str, Any]:
    parts = token.split(".")
    try:
        content = json.loads(decode(parts[number])) if len(parts) == 3 else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InvalidTokenError("malformed")
    return content


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
