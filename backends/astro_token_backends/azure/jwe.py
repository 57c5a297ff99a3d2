"""
Compact JWE (RFC 7516), as far as a key of Key Vault needs it: RSA-OAEP-256 and A256GCM, nothing else.

    header "." wrapped key "." nonce "." ciphertext "." tag        each of them in base64url

The content key is wrapped and unwrapped elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from astro_token.errors import DecryptError
from astro_token.secret import SecretValue

__all__ = ["ALGORITHM", "Envelope", "decoded", "encoded", "new_key", "sealed"]

ALGORITHM = "RSA-OAEP-256"
_ENCRYPTION = "A256GCM"
_LONGEST = 128 * 1024
_KEY, _NONCE, _TAG = 32, 12, 16
_WRAPPED = frozenset({256, 384, 512})  # RSA of 2048, 3072 and 4096 bits
_PART = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    A JWE, taken apart.

    Attributes:
        kid: the key that it says it is wrapped with, None where it says nothing.
        wrapped: the content key.
    """

    kid: str | None
    wrapped: bytes
    _header: bytes = field(repr=False)
    _nonce: bytes = field(repr=False)
    _sealed: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """
        Raises:
            DecryptError: it is none, or one of another kind.
        """
        text = data.strip().decode("ascii", errors="replace")
        parts = text.split(".")
        if len(data) > _LONGEST or len(parts) != 5:  # noqa: PLR2004
            raise _not_ours("is no compact JWE")
        header, wrapped, nonce, ciphertext, tag = (decoded(part) for part in parts)
        if header is None or wrapped is None or nonce is None or ciphertext is None or tag is None:
            raise _not_ours("is no compact JWE")
        said = _header(header)
        if said.get("alg") != ALGORITHM or said.get("enc") != _ENCRYPTION:
            raise _not_ours(f"is not encrypted by {ALGORITHM} and {_ENCRYPTION}")
        if "zip" in said or "crit" in said:
            raise _not_ours("is a JWE that is packed, or has extensions")
        kid = said.get("kid")
        if "kid" in said and not isinstance(kid, str):
            raise _not_ours("names no key")
        if len(wrapped) not in _WRAPPED or len(nonce) != _NONCE or len(tag) != _TAG:
            raise _not_ours("has parts of a wrong length")
        return cls(kid, wrapped, parts[0].encode(), nonce, ciphertext + tag)

    def opened(self, key: SecretValue) -> SecretValue:
        """
        Raises:
            DecryptError: it was changed, or is not of this key.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(key.reveal()) == _KEY:
            try:
                return SecretValue(AESGCM(key.reveal()).decrypt(self._nonce, self._sealed, self._header))
            except InvalidTag:
                pass
        raise DecryptError(
            "what is to be decrypted was damaged, or is not of this key", hint="encrypt the token again"
        )


def new_key() -> SecretValue:
    return SecretValue(os.urandom(_KEY))


def sealed(value: SecretValue, key: SecretValue, wrapped: bytes, kid: str) -> bytes:
    """A JWE of a value under a content key, which is used once."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = encoded(
        json.dumps({"alg": ALGORITHM, "enc": _ENCRYPTION, "kid": kid}, separators=(",", ":")).encode()
    )
    nonce = os.urandom(_NONCE)
    box = AESGCM(key.reveal()).encrypt(nonce, value.reveal(), header.encode())
    return ".".join([header, *map(encoded, (wrapped, nonce, box[:-_TAG], box[-_TAG:]))]).encode()


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes | None:
    """None where it is no base64url of JOSE: without padding, and with one text for the same bytes."""
    if not _PART.fullmatch(text) or len(text) % 4 == 1:
        return None
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if encoded(data) == text else None


def _header(data: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        header = json.loads(data.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _not_ours("is no compact JWE")
    return header


def _not_ours(what: str) -> DecryptError:
    return DecryptError(
        f"what is to be decrypted {what}", hint="make it by `astro-token put --decrypt azure-keys:…`"
    )
