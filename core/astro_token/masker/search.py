"""
Search an output for text of one token.

Nearly all output contains none, and the search has to show that fast. In a large part of an output it looks
at two of every four characters, for pairs that ordinary text hardly contains.
24 characters of the token that follow each other contain such a pair at each offset.
"""

from __future__ import annotations

import re
import sys
from array import array
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
GRAM = 4  # letters; 8 letters around a pair contain as many on one side of it
_STEP = 4
_LARGE = 8 * 1024
_OVERLAP = 64
_NEAR = 48
_SEPARATED = re.compile(rb"(?:[0-9A-Fa-f]{2}[^0-9A-Za-z]{1,2}){3}")
_DENSE = 300  # bytes for each pair; more pairs has only base64
_IS_LETTER = bytes(byte not in SEPARATORS for byte in range(256))
_ASCII = bytes(byte if byte < 128 else 32 for byte in range(256))  # noqa: PLR2004


class Piece:
    """A part of the letters of an output that is a part of a text, from one offset to another in both."""

    def __init__(self, text: Text, at: int, start: int, size: int) -> None:
        self.text, self.at, self.start, self.size = text, at, start, size
        self.until, self.end = at + size, start + size
        self.own = text.is_own(at, at + size)
        self.open = self.until < len(text.letters)


class Index:
    def __init__(self, token: bytes) -> None:
        self._texts = [text for text in texts(token) if len(text.letters) >= text.least]
        self._beginnings = {
            text.letters[at : at + size]
            for text in self._texts
            for at in text.starts
            for size in range(1, max(PIECE, text.least))
        }

    def hits(self, data: bytes) -> Iterator[int]:
        """Yield positions of pieces that only this token has."""
        if len(data) <= _LARGE:
            yield from self._exact_hits(data, 0)
        elif self.may_be_in(data):
            for start in range(0, len(data), _LARGE):
                part = data[start : start + _LARGE + _OVERLAP]
                if self.may_be_in(part):
                    yield from self._exact_hits(part, start)

    def _exact_hits(self, data: bytes, start: int) -> Iterator[int]:
        text, offsets = letters(data), self._offsets
        positions: list[int] = []
        end = 0
        for at in [at for at in range(0, len(text) - GRAM + 1, GRAM) if text[at : at + GRAM] in offsets]:
            if at >= end and (piece := self.piece(text, at)):
                positions = positions or positions_of(data)
                end = piece.end
                yield start + positions[at]

    def piece(self, data: bytes, start: int) -> Piece | None:
        """Return the longest piece around some letters, if only this token has these."""
        return _longest(data, start, self._offsets.get(data[start : start + GRAM], ()))

    def shared_piece(self, data: bytes) -> Piece | None:
        """Return the longest piece at the end of some letters, whoever has it."""
        end = data[-PIECE:]
        if len(end) < PIECE or int.from_bytes(end, sys.byteorder) not in self._words:
            return None
        offsets = [(text, at) for text in self._texts for at in _occurrences(end, text.letters)]
        return _longest(data, len(data) - PIECE, offsets)

    def begins(self, text: bytes) -> bool:
        """True if letters, fewer than a piece has, may begin one."""
        return text in self._beginnings or (len(text) < PIECE and text[:GRAM] in self._offsets)

    def may_be_in(self, data: bytes) -> bool:
        if ESCAPE in data:
            data = without_sequences(data)
        if b"\0" in data or not data.isascii():  # UTF-16, or what cannot be read as such below
            data = data.translate(_ASCII, b"\0")
        pairs = data[: len(data) & ~1].decode("utf-16-le")[:: _STEP // 2]
        ats = [_STEP * match.start() for match in self._rare.finditer(pairs)]
        if len(ats) > len(data) // _DENSE:
            # One of two words is enough for 23 letters.
            return not self._own_words.isdisjoint(_words(letters(data))[::2])
        offsets = self._offsets
        return any(
            self._is_piece(data, at)
            for at in ats
            if data[at : at + GRAM] in offsets
            or data[at - 2 : at + 2] in offsets
            or _SEPARATED.match(data, at)
        )

    def _is_piece(self, data: bytes, at: int) -> bool:
        before = letters(data[max(at - _NEAR, 0) : at])
        near = before + letters(data[at : at + _NEAR])
        return any(self.piece(near, max(len(before) - back, 0)) for back in (0, 2))

    @cached_property
    def _words(self) -> frozenset[int]:
        """Every 8 letters of a text as a number, for a fast comparison."""
        return _all_words(text.letters for text in self._texts)

    @cached_property
    def _own_words(self) -> frozenset[int]:
        return _all_words(part for text in self._texts for part in text.own_letters())

    @cached_property
    def _offsets(self) -> dict[bytes, list[tuple[Text, int]]]:
        offsets: dict[bytes, list[tuple[Text, int]]] = {}
        for text in self._texts:
            for at in text.own_offsets(GRAM):
                offsets.setdefault(text.letters[at : at + GRAM], []).append((text, at))
        return offsets

    @cached_property
    def _rare(self) -> re.Pattern[str]:
        """Match one of the rare pairs, each of which is one character of UTF-16."""
        pairs = sorted(_rare_pairs(self._texts)) or [b"\0\0"]
        return re.compile(f"[{re.escape(b''.join(pairs).decode('utf-16-le'))}]")


@lru_cache(1)  # both outputs need it
def index_of(token: bytes) -> Index:
    return Index(token)


def _all_words(parts: Iterable[bytes]) -> frozenset[int]:
    return frozenset(word for part in parts for start in range(PIECE) for word in _words(part[start:]))


def _words(data: bytes) -> array[int]:
    """Split data into numbers of 8 bytes."""
    return array("Q", data[: len(data) // PIECE * PIECE])


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


def _rare_pairs(texts: list[Text]) -> set[bytes]:
    """
    Choose pairs of which each long enough part of a text contains one, at every offset.

    Those of a kind that ordinary text hardly has are preferred: the others cost time.
    """
    chosen: set[bytes] = set()
    for text in texts:
        most = (text.window - 1) // _STEP
        for part in text.own_written():
            for offset in range(_STEP):
                passed: list[bytes] = []
                for at in range(offset, len(part) - 1, _STEP):
                    pair = part[at : at + 2]
                    passed.append(pair)
                    if pair in chosen:
                        passed = []
                    elif len(passed) == most:
                        best = min(
                            range(most),
                            key=lambda number: (_rank(passed[number]), -part.count(passed[number])),
                        )
                        chosen.add(passed[best])
                        passed = passed[best + 1 :]
    return chosen


def _rank(pair: bytes) -> float:
    """Order pairs by their number in ordinary text: words, names, numbers and hexadecimal."""
    if pair in _ORDINARY:
        return 4
    kinds = pair.translate(_KINDS)
    if kinds.isalpha() and kinds.islower():
        return 5 - sum(map(_FREQUENT.index, pair)) / 100
    return _RANKS.get(kinds, 9)


def _occurrences(part: bytes, text: bytes) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _longest(data: bytes, start: int, offsets: Iterable[tuple[Text, int]]) -> Piece | None:
    best: Piece | None = None
    for text, at in offsets:
        back = common(data[max(start - at, 0) : start][::-1], text.letters[:at][::-1])
        size = back + common(data[start : start + len(text.letters) - at], text.letters[at:])
        if size >= text.least and (best is None or size > best.size):
            best = Piece(text, at - back, start - back, size)
    return best


def common(first: bytes, second: bytes) -> int:
    """Return the number of equal bytes at the beginning, by halving: a comparison of slices is fast."""
    most = min(len(first), len(second))
    if first[:most] == second[:most]:
        return most
    return bisect_left(range(most), 1, key=lambda size: first[: size + 1] != second[: size + 1])


# Lower case (h: also hexadecimal), capitals (t: also in times) and digits.
_KINDS = bytes.maketrans(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    b"hhhhhhllllllllllllllllllllUUUUUUUUUUUUUUUUUUUTUUUUUT0000000000",
)
_RANKS = {
    kinds: rank
    for rank, group in enumerate(
        ("lU hU 0U U0 lT hT UU", "l0 0l UT TU", "Ul Uh Tl Th TT", "h0 0h T0 0T", "", "", "00")
    )
    for kinds in map(str.encode, group.split())
}
_FREQUENT = b"etaoinsrhldcumfpgwybvkxjqz"
# Words in logs that are written as few others are.
_ORDINARY = (
    b"TRACE DEBUG INFO NOTICE WARNING ERROR CRITICAL FATAL SEVERE HTTP HTTPS GET POST DELETE PATCH URL "
    b"JSON UTC GMT PASSED FAILED SUCCESS SKIPPED TRUE FALSE NULL NONE SELECT FROM WHERE INSERT "
    b"DagBag TaskInstance DagRun getLogger OSError IOError ValueError TypeError KeyError RuntimeError GitHub "
    b"PythonOperator BashOperator NullPointerException AirflowException ConnectionError TimeoutError GitLab"
)
