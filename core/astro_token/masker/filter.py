"""
Replace pieces of a token in an output that arrives in parts of any size.

Nearly all output contains none: the first search only has to show that, fast. If it finds a piece,
or a beginning that is not finished, `_Matches` locates all pieces exactly.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from astro_token.masker.pieces import PIECE, SEPARATORS, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from astro_token.masker.pieces import Text

__all__ = ["MASK", "Filter"]

MASK = b"***"

_ESCAPE = b"\x1b"
# Colours and other sequences of terminals: their letters are not text. An incomplete one may stand at the end.
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2048}(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])")
_UNFINISHED = rb"\x1b(?:\[[0-?]{0,32}|\][^\x07\x1b]{0,256}|[ -/]*)\Z"
_LETTERS = re.compile(rb"%s|%s|([A-Za-z0-9]+)" % (_SEQUENCE.pattern, _UNFINISHED))
_END = re.compile(rb"[A-Za-z0-9+/_.=%:\0-]*\Z")

_LINES = SEPARATORS.replace(b"\n", b"")
_BULK = bytes(byte for byte in range(256) if byte not in SEPARATORS or byte in b"+/-_=.\n")
_BLOCK = 32 * 1024
_WIDTH = 72  # `base64` writes 76
_CONTEXT = 256  # bytes between two pieces, or before one: a line's prefix, colours
_CHAIN = 8192  # bytes that are held, or remembered, for text that counts only next to text of this token
_SKIPPED = 8  # characters of the token that may be missing between two pieces


class _Index:
    """The pieces of all texts, for searching."""

    def __init__(self, token: bytes) -> None:
        self.texts: list[Text] = [text for text in texts(token) if len(text.characters) >= PIECE]
        own: set[bytes] = set()
        every: set[bytes] = set()
        self.beginnings: set[bytes] = set()
        for text in self.texts:
            pieces = [text.characters[at : at + PIECE] for at in range(len(text.characters) - PIECE + 1)]
            every.update(pieces)
            mine = [piece for piece, begins in zip(pieces, text.begins, strict=False) if begins]
            own.update(mine)
            for size in range(1, PIECE):
                self.beginnings.add(text.characters[:size])
                if size > 2:  # noqa: PLR2004 (fewer are at the end of every other word)
                    self.beginnings.update(piece[:size] for piece in mine)
        self.own, self.every = _Pieces(own), _Pieces(every)

    @cached_property
    def offsets(self) -> dict[bytes, list[tuple[Text, int]]]:
        offsets: dict[bytes, list[tuple[Text, int]]] = {}
        for text in self.texts:
            for at in range(len(text.characters) - PIECE + 1):
                offsets.setdefault(text.characters[at : at + PIECE], []).append((text, at))
        return offsets


class _Pieces:
    """A set of pieces."""

    def __init__(self, pieces: set[bytes]) -> None:
        self._pieces = frozenset(pieces)
        self._numbers = frozenset(memoryview(b"".join(pieces)).cast("Q"))

    def may_be_in(self, data: bytes) -> bool:
        """
        Search 15 consecutive letters of a text, or 8 at the end of a line.

        Each eighth letter is enough for that. Blocks of much base64 are searched for 23 in a line.
        """
        if (
            len(data) > _BLOCK
            and len(data.translate(None, _BULK)) < len(data) // 16
            and data.count(b"\n") < len(data) // _WIDTH
        ):
            return not self._numbers.isdisjoint(memoryview(data)[: len(data) & ~7].cast("Q")[::2])
        lines = _letters(data, _LINES).split(b"\n")
        letters = b"".join(lines)
        if not self._numbers.isdisjoint(memoryview(letters)[: len(letters) & ~7].cast("Q")):
            return True
        if len(letters) < PIECE * len(lines):
            lines = list(set(lines))
        return not self._pieces.isdisjoint([line[-PIECE:] for line in lines])


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

    def continues(self, other: _Match) -> bool:
        return self.text is other.text and abs(self.at - other.until) <= _SKIPPED


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
        # The last output. Up to `_out` it is written; up to `_hidden` it is masked.
        self._tail = b""
        self._out = self._hidden = 0
        self._short = True

    @cached_property
    def _index(self) -> _Index:
        return _Index(self._token or b"")

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
        return self._pass(self._tail, last=True)

    def _pass(self, data: bytes, *, last: bool = False) -> bytes:
        index = self._index
        spans: list[tuple[int, int]] = []
        upto, keep = len(data), max(len(data) - _CONTEXT, 0)
        # The last output may be of a chain that continues now.
        chained = len(self._tail) > _CONTEXT
        if chained or index.own.may_be_in(data) or index.every.may_be_in(data[-2 * _CONTEXT :]):
            spans, start, held = self._locate(data)
            keep = min(keep, start)
            upto = start if held else upto
        self._short = upto == len(data)
        if self._short:
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
        letters = [at for at in range(end.start() if end else len(data), len(data)) if data[at] not in SEPARATORS]
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
                match.continues(chain[-1])
                and positions[match.start] - positions[chain[-1].end - 1] <= _CONTEXT
            ):
                spans += _spans(chain, positions)
                chain = []
            chain.append(match)
        spans += _spans(chain, positions)
        if chain:
            last = chain[-1]
            behind = data[positions[last.end - 1] + 1 :]
            start = max(positions[chain[0].start], len(data) - _CHAIN)
            if last.until < len(last.text.characters) and len(behind) <= _CONTEXT:
                own = any(match.own for match in chain)
                same_line = behind.partition(b"\n")[0]
                return spans, start, not own and not _letters(same_line, SEPARATORS)
        return spans, len(data), False

    def _matches(self, letters: bytes) -> Iterator[_Match]:
        offsets = self._index.offsets
        at, last = 0, None
        while at <= len(letters) - PIECE:
            places = offsets.get(letters[at : at + PIECE])
            if places is None:
                at += 1
                continue
            best = max(
                (_Match(text, offset, at, _common(letters, at, text.characters, offset)) for text, offset in places),
                key=lambda match: (last is not None and match.continues(last), match.size),
            )
            yield best
            last = best
            at = best.end


def _common(one: bytes, at: int, other: bytes, offset: int) -> int:
    size = PIECE
    most = min(len(one) - at, len(other) - offset)
    while size < most and one[at + size] == other[offset + size]:
        size += 1
    return size


def _spans(chain: list[_Match], positions: list[int]) -> list[tuple[int, int]]:
    if not any(match.own for match in chain):
        return []
    return [(positions[match.start], positions[match.end - 1] + 1) for match in chain]


def _positions(data: bytes) -> tuple[bytes, list[int]]:
    """Return the letters of the data, and the position of each."""
    positions: list[int] = []
    for found in _LETTERS.finditer(data):
        if found[1]:
            positions.extend(range(*found.span()))
    return bytes(map(data.__getitem__, positions)), positions
