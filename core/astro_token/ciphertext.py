"""How ciphertext is kept where text is wanted: in base64, which is taken off again before it is decrypted."""

from __future__ import annotations

import base64
import re

from astro_token.secret import SecretValue

__all__ = ["is_ciphertext", "packed", "unpacked"]

_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_TEXT = re.compile(rb"[!-~]+")
_SHORT = 64  # bytes: less could be a password that happens to be base64
_OF_A_KEY_SERVICE = re.compile(rb"vault:v\d+:[!-~]+|eyJ[\w-]+(?:\.[\w-]*){4}")


def packed(ciphertext: bytes) -> SecretValue:
    """
    Ciphertext as it is stored: as it is where it is one line of visible text, as Vault's and a JWE are,
    else in base64, because most places keep text only.
    """
    return SecretValue(ciphertext if _TEXT.fullmatch(ciphertext) else base64.b64encode(ciphertext))


def unpacked(stored: SecretValue) -> bytes:
    """
    Ciphertext as its key service gave it: what as a whole is base64, in one line or in several, is decoded.

    No key service's ciphertext is base64 by itself: where it is binary, it begins with a byte that base64
    does not have, and where it is text, it contains a colon or a dot.
    """
    data = stored.reveal()
    if _BASE64.fullmatch(data):
        try:
            return base64.b64decode(b"".join(data.split()), validate=True)
        except ValueError:  # a length that base64 cannot have
            pass
    return data


def is_ciphertext(stored: SecretValue) -> bool:
    """True for what looks like the ciphertext of a key service: Vault's, a JWE, bytes that are no text."""
    if _OF_A_KEY_SERVICE.fullmatch(stored.reveal().strip()):
        return True
    ciphertext = unpacked(stored)
    return len(ciphertext) > _SHORT and not _is_text(ciphertext)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
