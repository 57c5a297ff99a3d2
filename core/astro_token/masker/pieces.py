"""
The texts in which a token can appear in an output, and the pieces of them that give it away.

A text has only letters and digits: separators, indentation, boxes, line ends and the dashes of base64 are ignored.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING

from astro_token.token import decode_part, is_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PIECE", "SEPARATORS", "Text", "texts"]

PIECE = 8  # characters of the token; fewer can be the same by chance
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SEPARATORS = bytes(byte for byte in range(256) if byte not in _LETTERS)
_IDENTIFIERS = ("apiTokenId", "jti")


class Text:
    """
    Attributes:
        characters: letters and digits.
        least: the number of consecutive characters that give the token away.
        begins: for each offset 1 if so many characters from there occur in no other token.
    """

    def __init__(self, characters: bytes, own: bytes, least: int) -> None:
        kept = [at for at, byte in enumerate(characters) if byte in _LETTERS]
        self.characters = bytes(characters[at] for at in kept)
        own = bytes(own[at] for at in kept)
        self.least = least
        self.begins = bytes(own.startswith(b"\1" * least, at) for at in range(len(own)))


def texts(token: bytes) -> Iterator[Text]:
    """Encode the token in the supported ways: raw, hexadecimal (also percent-encoded), base64 once and twice."""
    own = _own(token)
    yield Text(token, own, PIECE)
    twice = bytes(flag for flag in own for _ in range(2))
    for hexadecimal in (token.hex(), token.hex().upper()):
        yield Text(hexadecimal.encode(), twice, 2 * PIECE)
    for once in (_base64(token, own, before) for before in range(3)):
        yield Text(*once, PIECE)
        for before in range(3):
            yield Text(*_base64(*once, before), PIECE)


def _own(token: bytes) -> bytes:
    """
    Flag the bytes that no other token has: the signature, and the token's identifier among the claims.

    The header and the other claims are those of many tokens.
    """
    if not is_jwt(token):
        return b"\1" * len(token)
    header, claims, signature = token.split(b".")
    padded = claims + b"=" * (-len(claims) % 4)
    from base64 import urlsafe_b64decode

    decoded = urlsafe_b64decode(padded)
    own = bytearray(len(decoded))
    for name in _IDENTIFIERS:
        identifier = (decode_part(claims) or {}).get(name)
        if isinstance(identifier, str) and (value := identifier.encode()):
            at = decoded.find(value)
            if at >= 0:
                own[at : at + len(value)] = b"\1" * len(value)
    flags = _base64(decoded, bytes(own), 0)[1].ljust(len(claims), b"\0")
    return bytes(len(header) + 1) + flags + b"\0" + b"\1" * len(signature)


def _base64(data: bytes, own: bytes, before: int) -> tuple[bytes, bytes]:
    """Encode data after a number of other bytes, modulo 3, and keep the characters that depend on it alone."""
    first, last = (0, 2, 3)[before], 8 * (before + len(data)) // 6
    characters = b2a_base64(bytes(before) + data, newline=False)[first:last]
    flags = bytes(
        own[at * 6 // 8 - before] & own[(at * 6 + 5) // 8 - before] for at in range(first, last)
    )
    return characters, flags
