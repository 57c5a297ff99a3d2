"""
Compact JWE (RFC 7516) with RSA-OAEP-256 and A256GCM, and nothing else.

    header "." wrapped key "." nonce "." ciphertext "." tag        each in base64url

The content key is wrapped and unwrapped by the vault.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from astro_token.errors import DecryptError
from astro_token.record import Record
from astro_token.secret import SecretValue

__all__ = ["ALGORITHM", "Envelope", "base64url", "from_base64url", "new_key", "seal"]

ALGORITHM = "RSA-OAEP-256"
_ENCRYPTION = "A256GCM"
_LONGEST = 128 * 1024
_KEY, _NONCE, _TAG = 32, 12, 16
_WRAPPED = frozenset({256, 384, 512})  # RSA of 2048, 3072 and 4096 bits


class Envelope(Record):
    """
    The parts of a JWE.

    Attributes:
        kid: the key that wrapped the content key, or None.
        wrapped: the content key.
    """

    _hidden = ("header", "nonce", "sealed")
    kid: str | None
    wrapped: bytes
    header: bytes
    nonce: bytes
    sealed: bytes

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """
        Raises:
            DecryptError: the data is not a JWE, or one of another kind.
        """
        parts = data.strip().decode("ascii", errors="replace").split(".")
        decoded = [part for part in map(from_base64url, parts) if part is not None]
        if len(data) > _LONGEST or not len(parts) == len(decoded) == 5:  # noqa: PLR2004
            raise _unsupported("is not a compact JWE")
        header, wrapped, nonce, ciphertext, tag = decoded
        fields = _header(header)
        if fields.get("alg") != ALGORITHM or fields.get("enc") != _ENCRYPTION:
            raise _unsupported(f"is not encrypted with {ALGORITHM} and {_ENCRYPTION}")
        if "zip" in fields or "crit" in fields:
            raise _unsupported("is a JWE with compression or extensions")
        kid = fields.get("kid")
        if "kid" in fields and not isinstance(kid, str):
            raise _unsupported("does not name its key")
        if len(wrapped) not in _WRAPPED or len(nonce) != _NONCE or len(tag) != _TAG:
            raise _unsupported("has parts of a wrong length")
        return cls(kid, wrapped, parts[0].encode(), nonce, ciphertext + tag)

    def open(self, key: SecretValue) -> SecretValue:
        """
        Decrypt with the content key.

        Raises:
            DecryptError: the ciphertext was changed, or encrypted with another key.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(key.reveal()) == _KEY:
            try:
                return SecretValue(AESGCM(key.reveal()).decrypt(self.nonce, self.sealed, self.header))
            except InvalidTag:
                pass
        raise DecryptError(
            "the ciphertext is damaged, or encrypted with another key", hint="encrypt the token again"
        )


def new_key() -> SecretValue:
    return SecretValue(os.urandom(_KEY))


def seal(value: SecretValue, key: SecretValue, wrapped: bytes, kid: str) -> bytes:
    """Encrypt a value with a content key, which must not be used again. Return a JWE."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    fields = {"alg": ALGORITHM, "enc": _ENCRYPTION, "kid": kid}
    header = base64url(json.dumps(fields, separators=(",", ":")).encode())
    nonce = os.urandom(_NONCE)
    box = AESGCM(key.reveal()).encrypt(nonce, value.reveal(), header.encode())
    return ".".join([header, *map(base64url, (wrapped, nonce, box[:-_TAG], box[-_TAG:]))]).encode()


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes | None:
    """Decode JOSE's base64url: without padding, and with a single text for the same bytes. Else None."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        return None
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if base64url(data) == text else None


def _header(data: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        header = json.loads(data.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _unsupported("is not a compact JWE")
    return header


def _unsupported(defect: str) -> DecryptError:
    return DecryptError(
        f"the ciphertext {defect}", hint="create it with `astro-token put --decrypt azure-keys:…`"
    )
