"""Ciphertext in services that store text: encode it in base64, decode it before decryption, detect it."""

from __future__ import annotations

from astro_token.secret import SecretValue

__all__ = ["decode_ciphertext", "encode_ciphertext", "is_ciphertext"]

_BASE64 = rb"[A-Za-z0-9+/\s]+={0,2}\s*"
# AWS KMS's two formats, and Cloud KMS's, which begins with the version of the key.
_BEGINNINGS = (b"\x01\x01\x02\x00", b"\x01\x02\x02\x00", b"\x0a\x24\x00")
_VAULT_OR_JWE = rb"vault:v\d+:[!-~]+|eyJ[\w-]+(?:\.[\w-]*){4}"


def encode_ciphertext(ciphertext: bytes) -> SecretValue:
    """Encode ciphertext in base64, unless it is one line of visible text, as Vault's and a JWE are."""
    import base64
    import re

    # Text that is base64 already would be decoded later.
    stays = re.fullmatch(rb"[!-~]+", ciphertext) and not re.fullmatch(_BASE64, ciphertext)
    return SecretValue(ciphertext if stays else base64.b64encode(ciphertext))


def decode_ciphertext(stored: SecretValue) -> bytes:
    """
    Decode a value that consists of base64, in one line or several; return any other value unchanged.

    The ciphertext of a built-in key service is never base64 itself: binary ciphertext begins with a byte
    that base64 does not use, and text contains a colon or a dot.
    """
    import re

    data = stored.reveal()
    if re.fullmatch(_BASE64, data):
        import base64

        try:
            return base64.b64decode(b"".join(data.split()), validate=True)
        except ValueError:  # a length that base64 cannot have
            pass
    return data


def is_ciphertext(stored: SecretValue) -> bool:
    """
    True for a value that begins as ciphertext of Vault, Azure (a JWE), AWS or Google does.

    The test is strict, because ciphertext may be overwritten and may be readable by everybody.
    """
    import re

    if re.fullmatch(_VAULT_OR_JWE, stored.reveal().strip()):
        return True
    return decode_ciphertext(stored).startswith(_BEGINNINGS)
