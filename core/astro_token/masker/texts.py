"""
The texts in which a token can appear in an output.

A text has only letters and digits: separators, indentation, boxes, line ends and dashes are ignored.
So hexadecimal covers `65:79` and `%65%79`, and both alphabets of base64 are the same.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING

from astro_token.token import decode_part, is_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LETTERS", "PIECE", "SEPARATORS", "Text", "texts"]

PIECE = 8  # characters of the token; fewer can be the same by chance
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SEPARATORS = bytes(byte for byte in range(256) if byte not in LETTERS)
_IDENTIFIERS = ("apiTokenId", "jti")
_RANDOM = 12  # the last characters of an identifier; its beginning may be a date


class Text:
    """
    Args:
        parts: of the token, between its dots.
        own: those that no other token has.

    Attributes:
        letters: the letters and digits.
        starts: the offsets of the token's parts in the letters.
        own: the offsets of those that no other token has.
        least: the number of consecutive letters that are enough to recognize it.
    """

    def __init__(self, written: bytes, parts: Sequence[range], own: Sequence[range], least: int) -> None:
        def before(at: int) -> int:
            return len(written[:at].translate(None, SEPARATORS))

        self.letters, self.least = written.translate(None, SEPARATORS), least
        self.starts = [before(part.start) for part in parts]
        self.own = [range(before(part.start), before(part.stop)) for part in own]

    def is_own(self, start: int, end: int) -> bool:
        """True if a part of the letters has enough that no other token has."""
        return any(min(end, own.stop) - max(start, own.start) >= self._enough(own) for own in self.own)

    def _enough(self, own: range) -> int:
        """An identifier needs most of its letters: it may be hexadecimal, and some tokens share 5 digits."""
        return max(self.least, len(own) * 3 // 4) if len(own) < 4 * self.least else self.least


def texts(token: bytes) -> Iterator[Text]:
    """Encode the token: raw, hexadecimal (also percent-encoded), base64 once and twice."""
    raw = token, list(_parts(token)), list(_own(token))
    # One of eight characters may be a dash.
    yield Text(*raw, PIECE - 1)
    for hexadecimal in (token.hex(), token.hex().upper()):
        parts, own = ([range(2 * part.start, 2 * part.stop) for part in each] for each in raw[1:])
        yield Text(hexadecimal.encode(), parts, own, 2 * PIECE)
    for before in range(3):
        once = _base64(*raw, before)
        yield Text(*once, PIECE)
        for again in range(3):
            yield Text(*_base64(*once, again), PIECE)


def _parts(token: bytes) -> Iterator[range]:
    start = 0
    for part in token.split(b"."):
        yield range(start, start + len(part))
        start += len(part) + 1


def _own(token: bytes) -> Iterator[range]:
    """
    Yield the parts that no other token has: the signature, and the token's identifier among the claims.

    The header and the other claims are those of many tokens.
    """
    if not is_jwt(token):
        yield range(len(token))
        return
    header, claims, _ = token.split(b".")
    yield range(len(header) + len(claims) + 2, len(token))
    from base64 import urlsafe_b64decode

    decoded = urlsafe_b64decode(claims + b"=" * (-len(claims) % 4))
    for name in _IDENTIFIERS:
        identifier = str((decode_part(claims) or {}).get(name, "")).encode()[-_RANDOM:]
        start = decoded.find(identifier)
        if identifier and start >= 0:
            part = _encoded(range(start, start + len(identifier)), 0)
            yield range(len(header) + 1 + part.start, len(header) + 1 + part.stop)


def _base64(
    text: bytes, parts: Sequence[range], own: Sequence[range], before: int
) -> tuple[bytes, list[range], list[range]]:
    """Encode a text after a number of other bytes, modulo 3, without the characters that these change."""
    kept = _encoded(range(len(text)), before)
    written = b2a_base64(bytes(before) + text, newline=False)[kept.start : kept.stop]
    return written, _shifted(parts, before, kept.start), _shifted(own, before, kept.start)


def _shifted(parts: Sequence[range], before: int, start: int) -> list[range]:
    encoded = [_encoded(part, before) for part in parts]
    return [range(part.start - start, part.stop - start) for part in encoded]


def _encoded(part: range, before: int) -> range:
    """Return the characters of base64 that depend on a part of the text alone."""
    return range(-(-8 * (before + part.start) // 6), 8 * (before + part.stop) // 6)
