"""Ciphertext in services that store text: encode it in base64, decode it before decryption, detect it."""

from __future__ import annotations

from astro_token.secret import SecretValue

__all__ = ["decode_ciphertext", "encode_ciphertext", "is_ciphertext"]

_BLANK = b" \t\n\r\f\v"
_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# AWS KMS's two formats, and Cloud KMS's, which begins with the version of the key.
_BEGINNINGS = (b"\x01\x01\x02\x00", b"\x01\x02\x02\x00", b"\x0a\x24\x00")
_JWE_PARTS = 5


def encode_ciphertext(ciphertext: bytes) -> SecretValue:
    """Encode ciphertext in base64, unless it is one line of visible text, as Vault's and a JWE are."""
    if _is_visible(ciphertext) and not _is_base64(ciphertext):  # else it would be decoded later
        return SecretValue(ciphertext)
    import base64

    return SecretValue(base64.b64encode(ciphertext))


def decode_ciphertext(stored: SecretValue) -> bytes:
    """
    Decode a value that consists of base64, in one line or several; return any other value unchanged.

    The ciphertext of a built-in key service is never base64 itself: binary ciphertext begins with a byte
    that base64 does not use, and text contains a colon or a dot.
    """
    data = stored.reveal()
    if _is_base64(data):
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
    text = stored.reveal().strip()
    if text.startswith(b"vault:v"):
        version, _, rest = text.removeprefix(b"vault:v").partition(b":")
        return version.isdigit() and _is_visible(rest)
    if text.startswith(b"eyJ"):
        parts = text.split(b".")
        return len(parts) == _JWE_PARTS and len(parts[0]) > len(b"eyJ") and _consists_of(text, _WORD + b"_-.")
    return decode_ciphertext(stored).startswith(_BEGINNINGS)


# Without regular expressions, which take longer to compile than a token takes to read.


def _is_base64(data: bytes) -> bool:
    text = data.rstrip(_BLANK).removesuffix(b"=").removesuffix(b"=")
    return _consists_of(text, _WORD + b"+/" + _BLANK)


def _is_visible(data: bytes) -> bool:
    return bool(data) and min(data) > ord(" ") and max(data) < 0x7F  # noqa: PLR2004 (DEL)


def _consists_of(data: bytes, characters: bytes) -> bool:
    return bool(data) and not data.translate(None, characters)
