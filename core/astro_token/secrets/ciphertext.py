"""How ciphertext is kept where text is wanted: in base64, which is taken off again before it is decrypted."""

from __future__ import annotations

import base64
import re

from astro_token.secret import SecretValue

__all__ = ["is_ciphertext", "packed", "unpacked"]

_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_TEXT = re.compile(rb"[!-~]+")
# AWS KMS's two formats, and that of Cloud KMS, which names the key's version first.
_BEGINNINGS = (b"\x01\x01\x02\x00", b"\x01\x02\x02\x00", b"\x0a\x24\x00")
_OF_A_KEY_SERVICE = re.compile(rb"vault:v\d+:[!-~]+|eyJ[\w-]+(?:\.[\w-]*){4}")


def packed(ciphertext: bytes) -> SecretValue:
    """
    Ciphertext as it is stored: as it is where it is one line of visible text, as Vault's and a JWE are,
    else in base64, because most places keep text only.
    """
    as_it_is = _TEXT.fullmatch(ciphertext) and not _BASE64.fullmatch(ciphertext)  # which would be taken off
    return SecretValue(ciphertext if as_it_is else base64.b64encode(ciphertext))


def unpacked(stored: SecretValue) -> bytes:
    """
    Ciphertext as its key service gave it: what as a whole is base64, in one line or in several, is decoded.

    No built-in key service's ciphertext is base64 by itself: where it is binary, it begins with a byte that
    base64 does not have, and where it is text, it contains a colon or a dot.
    """
    data = stored.reveal()
    if _BASE64.fullmatch(data):
        try:
            return base64.b64decode(b"".join(data.split()), validate=True)
        except ValueError:  # a length that base64 cannot have
            pass
    return data


def is_ciphertext(stored: SecretValue) -> bool:
    """
    True for what begins as ciphertext of Vault, Azure (a JWE), AWS or Google does.

    Nothing else is taken for it: what is taken for it may be written over, and read by everybody.
    """
    if _OF_A_KEY_SERVICE.fullmatch(stored.reveal().strip()):
        return True
    return unpacked(stored).startswith(_BEGINNINGS)
