"""
Search an output for text of one token.

Nearly all output contains none, and the search has to show that fast. It compares every fourth letter and
the three behind it with a set of numbers, in which each long enough part of a text has one at every offset.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cached_property, lru_cache
from itertools import compress
from typing import TYPE_CHECKING

from astro_token.masker.texts import PIECE, SEPARATORS, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astro_token.masker.texts import Text

__all__ = [
    "ESCAPE",
    "GRAM",
    "SEQUENCE",
    "Index",
    "Piece",
    "common",
    "index_of",
    "letters",
    "positions_of",
    "without_sequences",
]

ESCAPE = b"\x1b"
# Colours and other sequences of terminals: their letters are not text.
SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2048}(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
)
_COLOUR = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
GRAM = 4  # letters, compared as one number
_BLOCK = 512  # letters
_IS_LETTER = bytes(byte not in SEPARATORS for byte in range(256))


class Piece:
    """A part of the letters of an output that is a part of a text, from one offset to another in both."""

    def __init__(self, text: Text, at: int, start: int, size: int) -> None:
        self.text, self.at, self.start, self.size = text, at, start, size
        self.until, self.end = at + size, start + size
        self.open = self.until < len(text.letters)

    @property
    def own(self) -> bool:
        return self.text.is_own(self.at, self.until)


class Index:
    def __init__(self, token: bytes) -> None:
        self._texts = [text for text in texts(token) if len(text.letters) >= text.least]
        self._own_letters = b" ".join(
            text.letters[own.start : own.stop] for text in self._texts for own in text.own
        )
        self._beginnings = {
            text.letters[at : at + size]
            for text in self._texts
            for at in text.starts
            for size in range(1, max(PIECE, text.least))
        }

    def hits(self, data: bytes) -> Iterator[int]:
        """Yield positions of pieces that only this token has."""
        text = letters(data)
        positions: list[int] = []
        end = 0
        for at in self._grams_in(text):
            if at >= end and (piece := self.piece(text, at)):
                positions = positions or positions_of(data)
                end = piece.end
                yield positions[at]

    def _grams_in(self, text: bytes) -> Iterator[int]:
        """Yield positions of grams; a block at a time, because nearly none has any."""
        numbers, grams = memoryview(text[: len(text) // GRAM * GRAM]).cast("I"), self._grams
        for start in range(0, len(text), _BLOCK):
            block = numbers[start // GRAM : (start + _BLOCK) // GRAM]
            if not grams.isdisjoint(block):
                yield from compress(range(start, start + _BLOCK, GRAM), map(grams.__contains__, block))

    def piece(self, data: bytes, start: int) -> Piece | None:
        """Return the longest piece around some letters, if only this token has these."""
        return _longest(data, start, self._offsets.get(data[start : start + GRAM], ()))

    def shared_piece(self, data: bytes) -> Piece | None:
        """Return the longest piece at the end of some letters, whoever has it."""
        end = data[-PIECE:]
        if end not in self._words:
            return None
        offsets = [(text, at) for text in self._texts for at in _occurrences(end, text.letters)]
        return _longest(data, len(data) - PIECE, offsets)

    def begins(self, text: bytes) -> bool:
        """True if letters, fewer than a piece has, may begin one."""
        return text in self._beginnings or (GRAM <= len(text) < PIECE and text in self._own_letters)

    @cached_property
    def _words(self) -> frozenset[bytes]:
        return frozenset(
            text.letters[at : at + PIECE]
            for text in self._texts
            for at in range(len(text.letters) - PIECE + 1)
        )

    @cached_property
    def _offsets(self) -> dict[bytes, list[tuple[Text, int]]]:
        """A part of the grams; a piece has one of them at every offset, because it has more letters."""
        offsets: dict[bytes, list[tuple[Text, int]]] = {}
        for text in self._texts:
            most = (text.least - GRAM + 1) // GRAM  # that follow each other in a piece
            for at in (at for own in text.own for at in range(own.start, own.stop - GRAM + 1)):
                if at // GRAM % most == 0:
                    offsets.setdefault(text.letters[at : at + GRAM], []).append((text, at))
        return offsets

    @cached_property
    def _grams(self) -> frozenset[int]:
        return frozenset(memoryview(b"".join(self._offsets)).cast("I"))


@lru_cache(1)  # both outputs need it
def index_of(token: bytes) -> Index:
    return Index(token)


def without_sequences(data: bytes) -> bytes:
    if ESCAPE not in data:
        return data
    bare = b"".join(_COLOUR.split(data))  # faster than `sub`, and nearly always enough
    return b"".join(SEQUENCE.split(data)) if ESCAPE in bare else bare


def letters(data: bytes) -> bytes:
    if ESCAPE in data:
        data = without_sequences(data)
    return data.translate(None, SEPARATORS)


def positions_of(data: bytes) -> list[int]:
    """Return the position of each letter."""
    if ESCAPE in data:
        data = SEQUENCE.sub(lambda match: bytes(len(match[0])), data)
    return list(compress(range(len(data)), data.translate(_IS_LETTER)))


def _occurrences(part: bytes, text: bytes) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _longest(data: bytes, start: int, offsets: Iterable[tuple[Text, int]]) -> Piece | None:
    best: Piece | None = None
    for text, at in offsets:
        end = at + GRAM
        if data[start - 1 : start] != text.letters[at - 1 : at] and (
            data[start + GRAM : start + GRAM + 1] != text.letters[end : end + 1]
        ):
            continue  # by chance, as most are
        before, ahead = data[max(start - at, 0) : start], data[start : start + len(text.letters) - at]
        back = common(before[::-1], text.letters[at - len(before) : at][::-1])
        size = back + common(ahead, text.letters[at : at + len(ahead)])
        if size >= text.least and (best is None or size > best.size):
            best = Piece(text, at - back, start - back, size)
    return best


def common(first: bytes, second: bytes) -> int:
    """Return the number of equal bytes at the beginning, by halving: a comparison of slices is fast."""
    most = min(len(first), len(second))
    if first[:most] == second[:most]:
        return most
    return bisect_left(range(most), 1, key=lambda size: first[: size + 1] != second[: size + 1])
