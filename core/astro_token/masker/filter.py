"""
Replace pieces of a token in an output that arrives in parts of any size.

Nearly all output contains none: the first search only has to show that, fast. If it finds a piece,
or a beginning that is not finished, `_Matches` locates all pieces exactly.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from astro_token.masker.pieces import PIECE, SEPARATORS, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astro_token.masker.pieces import Text

__all__ = ["MASK", "Filter"]

MASK = b"***"

_ESCAPE = b"\x1b"
# Colours and other sequences of terminals: their letters are not text. The last one may be incomplete.
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2048}(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
)
_UNFINISHED = rb"\x1b(?:\[[0-?]{0,32}|\][^\x07\x1b]{0,256}|[ -/]*)\Z"
_LETTERS = re.compile(rb"%s|%s|([A-Za-z0-9]+)" % (_SEQUENCE.pattern, _UNFINISHED))
_END = re.compile(rb"[A-Za-z0-9+/_.=%:\0-]*\Z")

_LINES = SEPARATORS.replace(b"\n", b"")
_BULK = bytes(byte for byte in range(256) if byte not in SEPARATORS or byte in b"+/-_=.")
_BLOCK = 32 * 1024
_WIDTH = 72  # `base64` writes 76
_CONTEXT = 256  # bytes between two pieces, or before start: a line's prefix, colours
_CHAIN = 8192  # bytes that are held, or remembered, for text that counts only next to text of this token
_INSIDE = b"-_.+/:%\0"  # between letters of a token
_BLANK = re.compile(rb"[ \r\n]+")
_FOLLOWING = 5  # letters: as many are enough if they continue a piece
_SKIPPED = 2 * PIECE  # characters of the token that may be missing between two pieces


class _Index:
    """The pieces of all texts, for searching."""

    def __init__(self, token: bytes) -> None:
        self.texts = [text for text in texts(token) if len(text.characters) >= PIECE]
        self.own = _Pieces(self.texts, own=True)
        self.every = _Pieces(self.texts, own=False)
        self.beginnings = {text.characters[:size] for text in self.texts for size in range(1, PIECE)}
        # Fewer than three letters are at the end of every other word.
        self.beginnings |= {piece[:size] for piece in self.own.pieces for size in range(3, PIECE)}

    @cached_property
    def offsets(self) -> dict[bytes, list[tuple[Text, int]]]:
        offsets: dict[bytes, list[tuple[Text, int]]] = {}
        for text in self.texts:
            for at, piece in enumerate(text.pieces()):
                offsets.setdefault(piece, []).append((text, at))
        return offsets


@lru_cache(1)  # both outputs need it
def _index(token: bytes) -> _Index:
    return _Index(token)


class _Pieces:
    """A set of pieces, of all texts or only those of this token alone."""

    def __init__(self, texts: list[Text], *, own: bool) -> None:
        pieces = [
            (text, at, piece)
            for text in texts
            for at, piece in enumerate(text.pieces())
            if text.begins[at] or not own
        ]
        self.pieces = frozenset(piece for *_, piece in pieces)
        self._numbers, self._few_numbers = (
            frozenset(memoryview(b"".join(_sample(pieces, step))).cast("Q")) for step in (PIECE, 2 * PIECE)
        )

    def may_be_in(self, data: bytes) -> bool:
        """
        Search for 24 characters of the token, or 8 at the end of a line.

        Each eighth letter is enough for that. A block of much base64 is searched for 24 characters only.
        """
        if len(data) > _BLOCK and len(data.translate(None, _BULK)) < len(data) // _WIDTH:
            return not self._few_numbers.isdisjoint(memoryview(data)[: len(data) & ~7].cast("Q")[::2])
        lines = _letters(data, _LINES).split(b"\n")
        letters = b"".join(lines)
        if not self._numbers.isdisjoint(memoryview(letters)[: len(letters) & ~7].cast("Q")):
            return True
        if len(letters) < PIECE * len(lines):
            lines = list(set(lines))
        return not self.pieces.isdisjoint([line[-PIECE:] for line in lines])


def _sample(pieces: Iterable[tuple[Text, int, bytes]], step: int) -> Iterator[bytes]:
    """Yield pieces of which at least one is in 24 characters of the token at every `step`-th letter."""
    for text, at, piece in pieces:
        sure = max((text.common - PIECE + 1) // step, 1)
        if at // step % sure == 0:
            yield piece


def _letters(data: bytes, separators: bytes) -> bytes:
    if _ESCAPE in data:
        data = b"".join(_SEQUENCE.split(data))  # faster than `sub`
    return data.translate(None, separators)


class _Match:
    """A part of the output that is a part of a text, from one offset to another in both."""

    def __init__(self, text: Text, at: int, start: int, size: int) -> None:
        self.text, self.at, self.start, self.size = text, at, start, size
        self.until, self.end = at + size, start + size
        self.own = text.begins.find(1, at, max(at, self.until - text.least + 1)) >= 0

    def distance(self, other: _Match) -> int:
        """
        Return the number of characters of the token between the end of another match and this one.

        The other one may be in another encoding: the end of a line shifts base64.
        """
        return abs(self.text.sources[self.at] - other.text.sources[other.until - 1] - 1)


class Filter:
    """
    Mask an output that arrives in parts, and hold back only an end that may begin a piece.

    Consecutive characters become one `***`.

    Args:
        token: None leaves everything as it is.
        at_once: release all of it in a pause, as a terminal needs it; otherwise a few characters only.
    """

    def __init__(self, token: bytes | None, *, at_once: bool = False) -> None:
        self._token = token
        self._at_once = at_once
        self._index: _Index
        # The last output. Up to `_out` it is written; up to `_hidden` it is masked.
        self._tail = b""
        self._out = self._hidden = 0
        self._short = True

    @property
    def waiting(self) -> bool:
        """True if `pause` would release something."""
        return self._out < len(self._tail) and (self._short or self._at_once)

    def feed(self, data: bytes) -> bytes:
        """Take more output, and return the part that can be written now."""
        return self._pass(self._tail + data) if self._token else data

    def pause(self) -> bytes:
        """
        Release, after a silence, an end that is too short to be recognized, and at a terminal any other.

        If it becomes a piece afterwards, the rest is masked.
        """
        if not self.waiting:
            return b""
        shown = self._tail[self._out :]
        self._out = len(self._tail)
        return shown

    def end(self) -> bytes:
        """Release everything, because nothing follows."""
        return self._pass(self._tail, last=True) if self._tail else b""

    def _pass(self, data: bytes, *, last: bool = False) -> bytes:
        index = self._index = _index(self._token or b"")
        spans: list[tuple[int, int]] = []
        upto, keep = len(data), max(len(data) - _CONTEXT, 0)
        # The last output may be of a chain that continues now.
        chained = len(self._tail) > _CONTEXT
        own = index.own.may_be_in(data)
        if own or chained or index.every.may_be_in(data[-2 * _CONTEXT :]):
            parts = [(0, len(data))]
            if not own and len(data) > 2 * _CHAIN:  # only the ends matter
                parts = [(0, _CHAIN)] * chained + [(len(data) - _CHAIN, len(data))]
            for begin, end in parts:
                located, start, held = self._locate(data[begin:end])
                spans += [(begin + first, begin + last) for first, last in located]
            start += begin
            keep = min(keep, start)
            upto = start if held else upto
        if spans and not data[spans[-1][1] :].strip(_INSIDE):
            upto = min(upto, spans[-1][1])  # perhaps it goes on
        self._short = upto >= len(data) - _FOLLOWING
        if upto == len(data):
            upto -= self._beginning(data)
        if last:
            upto = len(data)
        shown = self._write(data, spans, upto)
        keep = min(keep, self._out)
        self._tail = data[keep:]
        self._out, self._hidden = self._out - keep, max(self._hidden - keep, 0)
        return shown

    def _write(self, data: bytes, spans: Iterable[tuple[int, int]], upto: int) -> bytes:
        """Return the data from what is written up to an index, masked."""
        at, hidden, shown = self._out, self._hidden, []
        for start, end in spans:
            if end <= at or start >= upto:
                continue
            if start > at:
                shown.append(data[at:start])
            if start >= hidden or at > hidden:  # otherwise it continues a masked one
                shown.append(MASK)
            if _ESCAPE in data:  # a colour that ends inside would last
                shown += _SEQUENCE.findall(data, max(start, at), end)
            at = hidden = max(at, end)
        if at < upto:
            shown.append(data[at:upto])
            at = upto
        self._out, self._hidden = at, hidden
        return b"".join(shown)

    def _beginning(self, data: bytes) -> int:
        """Return the length of the end of the data that may begin a piece, and is too short to tell."""
        end = _END.search(data, max(len(data) - 4 * PIECE, 0))
        letters = [
            at for at in range(end.start() if end else len(data), len(data)) if data[at] not in SEPARATORS
        ]
        text = bytes(data[at] for at in letters[1 - PIECE :])
        for size in range(len(text), 0, -1):
            if text[-size:] in self._index.beginnings:
                return len(data) - letters[-size]
        return 0

    def _locate(self, data: bytes) -> tuple[list[tuple[int, int]], int, bool]:
        """
        Return the spans to mask, the start of a chain that may go on, and True if it has to be held.

        A chain is a list of matches, each of which continues the one before. It is masked if one of them is
        of this token alone; until that is clear, its beginning is held.
        """
        letters, positions = _positions(data)
        spans: list[tuple[int, int]] = []
        chain: list[_Match] = []
        for match in self._matches(letters):
            if chain and not (
                match.distance(chain[-1]) <= _SKIPPED
                and positions[match.start] - positions[chain[-1].end - 1] <= _CONTEXT
            ):
                spans += _spans(data, chain, positions)
                chain = []
            chain.append(match)
        spans += _spans(data, chain, positions)
        if chain:
            last = chain[-1]
            behind = data[positions[last.end - 1] + 1 :]
            start = max(positions[chain[0].start], len(data) - _CHAIN)
            if last.until < len(last.text.characters) and len(behind) <= _CONTEXT:
                own = any(match.own for match in chain)
                same_line = re.sub(_UNFINISHED, b"", behind.partition(b"\n")[0])
                return spans, start, not own and not _letters(same_line, SEPARATORS)
        return spans, len(data), False

    def _matches(self, letters: bytes) -> Iterator[_Match]:
        offsets = self._index.offsets
        at, last, following = 0, None, b""
        while at <= len(letters) - _FOLLOWING:
            if last and following and letters.startswith(following, at) and at - last.end < _CONTEXT:
                matching = [(last.text, last.until)]
            else:
                matching = offsets.get(letters[at : at + PIECE], [])
            if not matching:
                at += 1
                continue
            matches = [
                _Match(text, offset, at, _common(letters, at, text.characters, offset))
                for text, offset in matching
            ]
            match = max(matches, key=lambda match: match.size)
            if last:  # the same characters may be at several offsets
                near = min((each.distance(last), number) for number, each in enumerate(matches))
                match = matches[near[1]] if near[0] <= _SKIPPED else match
            yield match
            last, at = match, match.end
            following = match.text.characters[match.until :][:_FOLLOWING]
            if len(following) < _FOLLOWING:
                following = b""


def _common(letters: bytes, at: int, text: bytes, offset: int) -> int:
    """Return the number of equal characters, by halving: a comparison of slices is fast."""
    size, more = 0, min(len(letters) - at, len(text) - offset)
    while more:
        step = (more + 1) // 2 if letters[at : at + more] != text[offset : offset + more] else more
        if letters[at : at + step] == text[offset : offset + step]:
            size, at, offset, more = size + step, at + step, offset + step, more - step
        else:
            more = step - 1
    return size


def _spans(data: bytes, chain: list[_Match], positions: list[int]) -> Iterator[tuple[int, int]]:
    if not any(match.own for match in chain):
        return
    for match in chain:
        start, end = positions[match.start], positions[match.end - 1] + 1
        # A word beside it may begin or end with the same letter by chance.
        first = match.at and _BLANK.search(data, start, positions[match.start + _FOLLOWING - 1])
        start = first.end() if first else start
        open_end = match.until < len(match.text.characters) and match.end < len(positions)
        last = open_end and _BLANK.search(data, positions[match.end - _FOLLOWING] + 1, end)
        end = last.start() if last else end
        yield start, end


def _positions(data: bytes) -> tuple[bytes, list[int]]:
    """Return the letters of the data, and the position of each."""
    positions: list[int] = []
    for match in _LETTERS.finditer(data):
        if match[1]:
            positions.extend(range(*match.span()))
    return bytes(map(data.__getitem__, positions)), positions
