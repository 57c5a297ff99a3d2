"""Replace the forms of a secret in an output that arrives in pieces of any size."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from astro_token.masker.forms import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MASK", "Filter"]

MASK = b"***"

# Without a form in the output, only the search for so many bytes of a few forms costs time.
_NEEDLE = 128
_HEAD = 4

# Line ends are ignored, because encoders break their lines; this avoids a set of forms for each width.
# So are colours, which a search or a highlighted log inserts into a value, and an incomplete one at the end.
# Both alphabets of base64 are read as one.
_BREAKS = b"\r\n"
_ESCAPE = b"\x1b"
_COLOUR = re.compile(rb"\x1b\[[0-?]*[@-~]")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]{0,32})?\Z")
_IGNORED = re.compile(rb"[\r\n]|%s|%s" % (_COLOUR.pattern, _UNFINISHED.pattern))
_ALIKE = bytes.maketrans(b"-_", b"+/")


class Filter:
    """
    Mask an output that arrives in pieces, and hold back only an end that may begin a form.

    That end is shorter than the longest form, without line ends and colours.
    A form becomes one `***`, and so do overlapping forms.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        alike = {form.translate(_ALIKE, _BREAKS) for form in forms}
        self._forms = sorted(form for form in alike if len(form) >= SHORTEST)
        self._longest = max(map(len, self._forms), default=1)
        # At most two line ends after each character are ignored: empty lines are not held back for ever.
        self._reach = 3 * self._longest
        # A form that contains another one occurs only together with it.
        minimal = [form for form in self._forms if not any(a in form for a in self._forms if a != form)]
        self._needles = sorted({form[-_NEEDLE:] for form in minimal})
        self._heads: dict[bytes, list[bytes]] = {}
        for form in self._forms:
            self._heads.setdefault(form[:_HEAD], []).append(form)
        self._shorter = [{form[:size] for form in self._forms} for size in range(_HEAD)]
        # The held end. Its first bytes may be written already: unmasked, because they were too few
        # to reveal anything, or as part of the mask of a form that ended there.
        self._tail = self._text = b""
        self._out = self._hidden = 0

    @property
    def waiting(self) -> bool:
        """True if `pause` would release something."""
        return self._out < len(self._tail) and len(self._text) < SHORTEST

    def feed(self, data: bytes) -> bytes:
        """Take more output, and return the part that can be written now."""
        if self._tail and (_ESCAPE in data or _ESCAPE in self._tail):
            data = self._tail + data
            text = _normalize(data)
        else:
            data, text = self._tail + data, self._text + _normalize(data)
        if self._tail and len(data) <= self._reach and self._goes_on(text):
            self._tail, self._text, shown = data, text, b""
        else:
            shown = self._take(data, text)
        if data.endswith((b"\r", b"\n")) and self.waiting:  # a line does not wait for the next one
            shown += self.pause()
        return shown

    def pause(self) -> bytes:
        """
        Release, after a silence, an end that is too short to be recognized as a form.

        If it becomes a form afterwards, the rest is masked.
        """
        if not self.waiting:
            return b""
        shown = self._tail[self._out :]
        self._out = len(self._tail)
        return shown

    def end(self) -> bytes:
        """Release everything, because nothing follows."""
        return self._pass(self._tail, b"", len(self._tail), self._spans(self._tail, self._text))

    def _take(self, data: bytes, text: bytes) -> bytes:
        begun = self._begun(data, text)
        has_form = any(needle in text for needle in self._needles)
        if not begun and not has_form and not self._tail:  # nearly always: nothing is copied
            return data
        upto = len(data) - self._length(data, begun)
        return self._pass(data, text[len(text) - begun :], upto, self._spans(data, text) if has_form else ())

    def _pass(self, data: bytes, begun: bytes, upto: int, spans: Iterable[tuple[int, int]]) -> bytes:
        """Return the data up to an index, masked; the rest, which begins a form, is the new tail."""
        at, hidden, shown = self._out, self._hidden, []
        for start, end in spans:
            if start >= upto:
                break
            if start > at:
                shown.append(data[at:start])
            if start >= hidden or at > hidden:  # otherwise it overlaps with a masked one
                shown.append(MASK)
            if _ESCAPE in data:  # a colour that ends inside would last
                shown += _COLOUR.findall(data, max(start, at), max(at, end))
            at = hidden = max(at, end)
        if at < upto:
            shown.append(data[at:upto])
        self._tail, self._text = data[upto:], begun
        self._out, self._hidden = max(at - upto, 0), max(hidden - upto, 0)
        return b"".join(shown)

    def _goes_on(self, text: bytes) -> bool:
        """True if all of the held text still begins a form."""
        return any(len(text) < len(form) and form.startswith(text) for form in self._forms)

    def _spans(self, data: bytes, text: bytes) -> list[tuple[int, int]]:
        """Locate the forms in the data, and merge overlapping ones."""
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
        offsets, lengths = _ignored(data)
        return [
            (at + lengths[bisect_right(offsets, at)], to + lengths[bisect_right(offsets, to - 1)])
            for at, to in merged
        ]

    def _begun(self, data: bytes, text: bytes) -> int:
        """Return the length of the longest end of the text that begins a form."""
        if len(data) > self._reach:
            text = _normalize(data[-self._reach :])
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
        """Return the length of the end of the data that contains so many bytes of the text."""
        if not begun:
            return 0
        end = data[-self._reach :]
        offsets, lengths = _ignored(end)
        at = len(end) - lengths[-1] - begun
        return len(end) - at - lengths[bisect_right(offsets, at)]


def _normalize(data: bytes) -> bytes:
    """Return the text that is searched for forms."""
    if _ESCAPE in data:
        last = data.rfind(_ESCAPE)
        if _UNFINISHED.match(data, last):
            data = data[:last]
        data = b"".join(_COLOUR.split(data))  # faster than `sub`
    return data.translate(_ALIKE, _BREAKS)


def _ignored(data: bytes) -> tuple[list[int], list[int]]:
    """Return the offsets in the text at which data was ignored, and its length up to each, after a 0."""
    offsets, lengths = [], [0]
    for match in _IGNORED.finditer(data):
        offsets.append(match.start() - lengths[-1])
        lengths.append(lengths[-1] + len(match[0]))
    return offsets, lengths
