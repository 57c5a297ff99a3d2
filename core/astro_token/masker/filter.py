"""
Replace pieces of a token in an output that arrives in parts of any size.

A *piece* is at least 8 consecutive letters and digits of a text of the token. Separators do not count:
line ends, dashes, blanks, boxes and sequences of terminals may be between them.
Pieces that continue each other, also behind the prefix of the next line, are a *chain*.
A chain is masked if it has a piece that no other token has: of the signature, or of the token's identifier.
So 24 consecutive characters of these are masked if each line has 8 of them,
and the header and the other claims, which many tokens share, are masked next to them only.

Held back is an end that may begin a piece, and a chain of shared text that may go on.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from astro_token.masker.search import (
    ESCAPE,
    SEQUENCE,
    Piece,
    common,
    index_of,
    letters,
    positions_of,
    without_sequences,
)
from astro_token.masker.texts import LETTERS, PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from astro_token.masker.search import Index
    from astro_token.masker.texts import Text

__all__ = ["MASK", "Filter"]

MASK = b"***"

# The last sequence of a part may be incomplete.
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}|\][^\x07\x1b]{0,256}\x1b?|[ -/]{0,4})\Z")
_INSIDE = b"-_.+/=:%\0"  # between letters of a token
_WORD = LETTERS + _INSIDE
_BLANK = b" \r\n"
_WORDS = re.compile(rb"[^ \r\n]+")
_FOLLOWING = 5  # letters: as many are enough if they continue a piece
_PREFIX = 128  # bytes of a line in front of a piece
_CONTEXT = 256
_REGION = 1024
_MOST = 8192  # bytes that are held


class _Region:
    """A part of the data as letters, in which chains are located."""

    def __init__(self, index: Index, data: bytes, start: int, end: int) -> None:
        self._index, self._data = index, data
        self._start = start
        self.letters = letters(data[start:end])
        self._positions = positions_of(data[start:end])

    def position(self, number: int) -> int:
        """Return the position of a letter in the data."""
        return self._start + self._positions[number]

    def _number_at(self, position: int) -> int:
        return bisect_left(self._positions, position - self._start)

    def chain_at(self, position: int) -> list[Piece]:
        """Return the chain with a letter that only this token has, at a position of the data."""
        return self._chain(self._index.piece(self.letters, self._number_at(position)))

    def chain_before(self, position: int) -> list[Piece]:
        """Return the chain whose last piece ends before a position."""
        return self._chain(self._index.shared_piece(self.letters[: self._number_at(position)]))

    def _chain(self, piece: Piece | None) -> list[Piece]:
        if piece is None:
            return []
        piece = self._trimmed(piece)
        return [*reversed(list(self._before(piece))), piece, *self._behind(piece)]

    def _behind(self, piece: Piece) -> Iterator[Piece]:
        text, size = piece.text, _following(piece.text)
        while piece.until + size <= len(text.letters):
            rest = text.letters[piece.until :]
            start = self.letters.find(rest[:size], piece.end, piece.end + _CONTEXT)
            if start < 0:
                return
            length = common(self.letters[start : start + len(rest)], rest)
            piece = self._trimmed(Piece(text, piece.until, start, length))
            yield piece

    def _before(self, piece: Piece) -> Iterator[Piece]:
        text, size = piece.text, _following(piece.text)
        while piece.at >= size:
            rest = text.letters[: piece.at][::-1]
            end = size + self.letters.rfind(rest[:size][::-1], max(piece.start - _CONTEXT, 0), piece.start)
            if end < size:
                return
            length = common(self.letters[max(end - len(rest), 0) : end][::-1], rest)
            piece = self._trimmed(Piece(text, piece.at - length, end - length, length))
            yield piece

    def _trimmed(self, piece: Piece) -> Piece:
        """Leave out letters of a word beside it that begins or ends with the same ones by chance."""
        first, last = 0, piece.size
        if piece.size > 2 * _FOLLOWING:
            if piece.at:
                first = self._break(range(piece.start + _FOLLOWING, piece.start, -1), piece.start)
            if piece.open:
                last = self._break(range(piece.end - _FOLLOWING, piece.end), piece.start) or last
        if piece.text.least > PIECE:  # hexadecimal has blanks inside, between even numbers of digits
            first, last = first * (first % 2), last if (piece.size - last) % 2 else piece.size
        return Piece(piece.text, piece.at + first, piece.start + first, last - first)

    def _break(self, numbers: range, start: int) -> int:
        """Return the offset of the first of some letters that is behind a blank; 0 if none is."""
        for number in numbers:
            if self._data[self.position(number) - 1] in _BLANK:
                return number - start
        return 0

    def span(self, piece: Piece) -> tuple[int, int]:
        """Return the part of the data to mask."""
        return self.position(piece.start), self.position(piece.end - 1) + 1


def _following(text: Text) -> int:
    """Return the number of letters that are enough if they continue a piece."""
    return text.least * _FOLLOWING // PIECE + 1


class Filter:
    """
    Mask an output that arrives in parts.

    Args:
        token: None leaves everything as it is.
        at_once: release everything in a pause, as a terminal needs it; otherwise a few characters only.
    """

    def __init__(self, token: bytes | None, *, at_once: bool = False) -> None:
        self._token = token
        self._at_once = at_once
        # The last output. Up to `_out` it is written; up to `_hidden` it is masked.
        self._tail = b""
        self._out = self._hidden = 0
        self._anchor: int | None = None  # where in the tail a masked chain is that may go on
        # The last piece of an open chain, if the tail ends with it, and True if it is masked.
        self._last: Piece | None = None
        self._masked = False
        self._short = True

    @property
    def waiting(self) -> bool:
        """True if `pause` would release something."""
        return self._out < len(self._tail) and (self._short or self._at_once)

    def feed(self, data: bytes) -> bytes:
        """Take more output, and return the part that can be written now."""
        if not self._token or not data:
            return data
        if (shown := self._continued(data)) is not None:  # some programs write a few bytes at once
            return shown
        return self._pass(self._tail + data)

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

    def _continued(self, data: bytes) -> bytes | None:
        """Return what to write if the data is more of the last piece, or a line end behind it; else None."""
        piece = self._last
        if piece is None or len(self._tail) + len(data) > _MOST:
            return None
        text = data.translate(None, _BLANK + _INSIDE) if self._masked else data
        if (text and not text.isalnum()) or not piece.text.letters.startswith(text, piece.until):
            return None
        more = Piece(piece.text, piece.at, piece.start, piece.size + len(text))
        if not more.open or (not self._masked and more.own):
            return None
        self._last = more
        self._tail += data
        ending = data.rstrip(_INSIDE)  # what is behind it waits for another letter
        if not self._masked or not ending:
            return b""
        shown = _WORDS.sub(MASK, ending)
        if self._out == self._hidden and ending[:1] not in _BLANK:
            shown = shown[len(MASK) :]
        self._out = len(self._tail) - len(data) + len(ending)
        self._hidden = self._out - (ending[-1:] in _BLANK)
        return shown

    def _pass(self, data: bytes, *, last: bool = False) -> bytes:
        index = index_of(self._token or b"")
        spans: list[tuple[int, int]] = []
        keep = max(len(data) - _CONTEXT, 0)
        done, anchor = 0, None
        self._last = None
        for position in (
            index.hits(data) if self._anchor is None else self._more_hits(index, data, self._anchor)
        ):
            if position < done:
                continue
            region, chain = _locate(index, data, position, _Region.chain_at)
            if not chain or not chain[0].text.is_own(chain[0].at, chain[-1].until):
                continue
            located = [region.span(piece) for piece in chain]
            spans += located
            done = located[-1][1]
            if done > len(data) - _CONTEXT and chain[-1].open:
                anchor = position
                self._last, self._masked = (chain[-1] if done == len(data) else None), True
        upto = self._open(index, data, done)
        if anchor is not None and not _UNFINISHED.sub(b"", without_sequences(data[done:])).strip(_INSIDE):
            upto = min(upto, done)  # perhaps it goes on
        if anchor is not None:
            keep = min(keep, max(anchor - _CONTEXT, 0))
        if last:
            upto = len(data)
        shown = self._write(data, sorted(spans), upto)
        keep = min(keep, upto, self._out)
        self._tail = data[keep:]
        self._out, self._hidden = self._out - keep, max(self._hidden - keep, 0)
        self._anchor = None if anchor is None or len(data) - anchor > _MOST else anchor - keep
        return shown

    def _more_hits(self, index: Index, data: bytes, first: int) -> Iterator[int]:
        """Yield a known position, and those behind what is masked already."""
        yield first
        start = max(self._hidden - PIECE, first)
        yield from (start + position for position in index.hits(data[start:]))

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
            if ESCAPE in data:  # a colour that ends inside would last
                shown += SEQUENCE.findall(data, max(start, at), end)
            at = hidden = max(at, end)
        if at < upto:
            shown.append(data[at:upto])
            at = upto
        self._out, self._hidden = at, hidden
        return b"".join(shown)

    def _open(self, index: Index, data: bytes, done: int) -> int:
        """
        Return the index from which the data has to be held, because more output may make it a chain.

        Args:
            done: the end of what is masked.
        """
        self._short = True
        end = len(data)
        if ESCAPE in data[-_CONTEXT:] and (unfinished := _UNFINISHED.search(data, max(end - _CONTEXT, 0))):
            end = unfinished.start()
        # What is behind the last line end may be the prefix of the next line.
        line = data.rfind(b"\n", max(end - _PREFIX, 0), end)
        for stop in (end, line) if line >= 0 else (end,):
            start = max(stop - _CONTEXT, done)
            if index.shared_piece(letters(data[start:stop])):
                region, chain = _locate(index, data, stop, _Region.chain_before)
                first = region.position(chain[0].start) if chain else 0
                if chain and chain[-1].open and first >= done and len(data) - first <= _MOST:
                    self._short = False
                    self._last, self._masked = (
                        (chain[-1] if region.span(chain[-1])[1] == len(data) else None),
                        False,
                    )
                    return first
        run = data[max(end - _PREFIX, done) : end]
        bare = without_sequences(run)
        text = letters(bare[len(bare.rstrip(_WORD)) :])
        for size in range(min(2 * PIECE - 1, len(text)), 0, -1):
            if index.begins(text[-size:]):
                return end - len(run) + positions_of(run)[-size]
        return len(data)


def _locate(
    index: Index, data: bytes, position: int, locate: Callable[[_Region, int], list[Piece]]
) -> tuple[_Region, list[Piece]]:
    """Locate the chain at a position; look only as far as it goes."""
    size = _REGION
    while True:
        start, end = max(position - size, 0), min(position + size, len(data))
        region = _Region(index, data, start, end)
        chain = locate(region, position)
        size *= 2
        if not chain or (
            (start == 0 or chain[0].start > _CONTEXT or size > _MOST)
            and (end == len(data) or chain[-1].end < len(region.letters) - _CONTEXT)
        ):
            return region, chain
