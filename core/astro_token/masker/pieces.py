"""
The texts in which a token can appear in an output, and the pieces of them that give it away.

A text has only letters and digits: separators, indentation, boxes, line ends and dashes are ignored.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING

from astro_token.token import decode_part, is_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    # The characters, and for each the first and the last byte of the token that it depends on.
    _Encoded = tuple[bytes, Sequence[int], Sequence[int]]

__all__ = ["PIECE", "SEPARATORS", "Text", "texts"]

PIECE = 8  # characters of the token; fewer can be the same by chance
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SEPARATORS = bytes(byte for byte in range(256) if byte not in _LETTERS)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_IDENTIFIERS = ("apiTokenId", "jti")


class Text:
    """
    Attributes:
        characters: letters and digits.
        sources: the index in the token for each of them.
        least: the number of consecutive characters that give the token away.
        begins: for each offset 1 if so many characters from there occur in no other token.
        common: the number of characters, without line ends and dashes, in which 24 of the token are encoded.
    """

    def __init__(self, encoded: _Encoded, own: bytes, least: int, common: int) -> None:
        kept = [
            (character, source) for character, *source in zip(*encoded, strict=True) if character in _LETTERS
        ]
        self.characters = bytes(character for character, _ in kept)
        self.sources = [first for _, (first, _) in kept]
        self.least = least
        self.common = common
        flags = bytes(own[first] & own[last] for _, (first, last) in kept)
        self.begins = bytes(flags.startswith(b"\1" * least, at) for at in range(len(flags)))

    def pieces(self) -> list[bytes]:
        return [self.characters[at : at + PIECE] for at in range(len(self.characters) - PIECE + 1)]


def texts(token: bytes) -> Iterator[Text]:
    """Encode the token: raw, hexadecimal (also percent-encoded), base64 once and twice."""
    own = _own(token)
    indexes = range(len(token))
    raw = token, indexes, indexes
    twice = [index for index in indexes for _ in range(2)]
    yield Text(raw, own, PIECE, 20)
    for hexadecimal in (token.hex(), token.hex().upper()):
        yield Text((hexadecimal.encode(), twice, twice), own, 2 * PIECE, 47)
    for before in range(3):
        once = _base64(raw, before)
        yield Text(once, own, PIECE, 28)
        for again in range(3):
            yield Text(_base64(once, again), own, PIECE, 39)


def _own(token: bytes) -> bytes:
    """
    Flag the bytes that no other token has: the signature, and the token's identifier among the claims.

    The header and the other claims are those of many tokens.
    """
    if not is_jwt(token):
        return b"\1" * len(token)
    header, claims, signature = token.split(b".")
    own = bytearray(len(header) + 1 + len(claims) + 1) + b"\1" * len(signature)
    decoded = decode_part(claims) or {}
    for name in _IDENTIFIERS:
        identifier = decoded.get(name)
        if isinstance(identifier, str):
            for before in range(3):
                indexes = range(len(identifier.encode()))
                encoded = _base64((identifier.encode(), indexes, indexes), before)[0].translate(_URL_SAFE)
                at = claims.find(encoded)
                if at >= 0 and encoded:
                    at += len(header) + 1
                    own[at : at + len(encoded)] = b"\1" * len(encoded)
    return bytes(own)


def _base64(data: _Encoded, before: int) -> _Encoded:
    """Encode data after a number of other bytes, modulo 3, without the characters that these change."""
    text, firsts, lasts = data
    kept = range((0, 2, 3)[before], 8 * (before + len(text)) // 6)
    characters = b2a_base64(bytes(before) + text, newline=False)[kept.start : kept.stop]
    return (
        characters,
        [firsts[at * 6 // 8 - before] for at in kept],
        [lasts[(at * 6 + 5) // 8 - before] for at in kept],
    )
