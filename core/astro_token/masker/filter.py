"""Replaces the forms of a secret in an output that comes in pieces of any size."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from astro_token.masker.forms import SHORTEST
from astro_token.masker.plain import ALIKE, BREAKS, ESCAPE, SEQUENCE, passed_over, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MASK", "Filter"]

MASK = b"***"

# Where no form is, nothing but the search for this much of a few of them costs time.
_NEEDLE = 128
_HEAD = 4


class Filter:
    """
    Holds back what may be the beginning of a form, and nothing else.

    What is held back is shorter than the longest form, line ends and colours not counted.
    A form goes out as one `***`, and so do forms that overlap.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        alike = {form.translate(ALIKE, BREAKS) for form in forms}
        self._forms = sorted(form for form in alike if len(form) >= SHORTEST)
        self._longest = max(map(len, self._forms), default=1)
        # As many line ends as are passed over: two after each character. Else empty lines were held for ever.
        self._reach = 3 * self._longest
        # A form that contains another one is there only where that one is.
        least = [form for form in self._forms if not any(a in form for a in self._forms if a != form)]
        self._needles = sorted({form[-_NEEDLE:] for form in least})
        self._heads: dict[bytes, list[bytes]] = {}
        for form in self._forms:
            self._heads.setdefault(form[:_HEAD], []).append(form)
        self._shorter = [{form[:size] for form in self._forms} for size in range(_HEAD)]
        # What may still become a form. Its first bytes may be out already: shown, because they were too few
        # to tell anything, or hidden by the mask of a form that ended there.
        self._tail = self._text = b""
        self._out = self._hidden = 0

    @property
    def waiting(self) -> bool:
        """True if something is held back that `pause` would let go."""
        return self._out < len(self._tail) and len(self._text) < SHORTEST

    def feed(self, data: bytes) -> bytes:
        """Takes more output; returns what can go out now."""
        if self._tail and (ESCAPE in data or ESCAPE in self._tail):
            data = self._tail + data
            text = plain(data)
        else:
            data, text = self._tail + data, self._text + plain(data)
        if self._tail and len(data) <= self._reach and self._goes_on(text):
            self._tail, self._text, shown = data, text, b""
        else:
            shown = self._take(data, text)
        if data.endswith((b"\r", b"\n")) and self.waiting:  # no line waits for the next one
            shown += self.pause()
        return shown

    def pause(self) -> bytes:
        """
        Lets go, after a silence, of what is too short to be told from any other text.

        Whatever makes it a form afterwards is hidden all the same.
        """
        if not self.waiting:
            return b""
        shown = self._tail[self._out :]
        self._out = len(self._tail)
        return shown

    def end(self) -> bytes:
        """Lets go of everything, because nothing follows."""
        return self._pass(self._tail, b"", len(self._tail), self._found(self._tail, self._text))

    def _take(self, data: bytes, text: bytes) -> bytes:
        begun = self._begun(data, text)
        found = any(needle in text for needle in self._needles)
        if not begun and not found and not self._tail:  # as nearly always: nothing is copied
            return data
        upto = len(data) - self._length(data, begun)
        return self._pass(data, text[len(text) - begun :], upto, self._found(data, text) if found else ())

    def _pass(self, data: bytes, begun: bytes, upto: int, found: Iterable[tuple[int, int]]) -> bytes:
        """What goes out of the data up to a place; the rest, in which a form has begun, is the new tail."""
        at, hidden, shown = self._out, self._hidden, []
        for start, end in found:
            if start >= upto:
                break
            if start > at:
                shown.append(data[at:start])
            if start >= hidden or at > hidden:  # else it overlaps with one that has its mask
                shown.append(MASK)
            if ESCAPE in data:  # a colour that ends in there would last
                shown += SEQUENCE.findall(data, max(start, at), max(at, end))
            at = hidden = max(at, end)
        if at < upto:
            shown.append(data[at:upto])
        self._tail, self._text = data[upto:], begun
        self._out, self._hidden = max(at - upto, 0), max(hidden - upto, 0)
        return b"".join(shown)

    def _goes_on(self, text: bytes) -> bool:
        """True if all of what is held back still begins a form: then nothing of it can go out."""
        return any(len(text) < len(form) and form.startswith(text) for form in self._forms)

    def _found(self, data: bytes, text: bytes) -> list[tuple[int, int]]:
        """Where in the data forms are; those that overlap are one."""
        spans = []
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                spans.append((at, at + len(form)))
                at = text.find(form, at + 1)
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        places, lengths = passed_over(data)
        return [
            (at + lengths[bisect_right(places, at)], to + lengths[bisect_right(places, to - 1)])
            for at, to in merged
        ]

    def _begun(self, data: bytes, text: bytes) -> int:
        """The length of the longest end of the text that begins a form."""
        if len(data) > self._reach:
            text = plain(data[-self._reach :])
        text = text[-(self._longest - 1) :] if self._longest > 1 else b""
        best = 0
        for head, forms in self._heads.items():
            at = text.find(head)
            while 0 <= at < len(text) - best:
                end = text[at:]
                if any(len(end) < len(form) and form.startswith(end) for form in forms):
                    best = len(end)
                at = text.find(head, at + 1)
        if best:
            return best
        return next((size for size in range(_HEAD - 1, 0, -1) if text[-size:] in self._shorter[size]), 0)

    def _length(self, data: bytes, begun: int) -> int:
        """How much of the end of the data so many bytes of the text are."""
        if ESCAPE in data:
            end = data[-self._reach :]
            places, lengths = passed_over(end)
            at = len(end) - lengths[-1] - begun
            return len(end) - at - lengths[bisect_right(places, at)] if begun else 0
        length = begun
        while True:
            start = len(data) - length
            breaks = data.count(b"\r", start) + data.count(b"\n", start)
            if length == begun + breaks:
                return length
            length = begun + breaks
