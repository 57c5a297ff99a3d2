"""Normalize an output before the search for forms."""

from __future__ import annotations

import re

__all__ = ["ALIKE", "BREAKS", "ESCAPE", "SEQUENCE", "ignored", "normalize"]

# Line ends are ignored, because encoders break their lines; this avoids a set of forms for each width.
# So are colours, which a search or a highlighted log inserts into a value, and an incomplete one at the end.
# Both alphabets of base64 are read as one.
BREAKS = b"\r\n"
ESCAPE = b"\x1b"
SEQUENCE = re.compile(rb"\x1b\[[0-?]*[@-~]")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]{0,32})?\Z")
_IGNORED = re.compile(rb"[\r\n]|%s|%s" % (SEQUENCE.pattern, _UNFINISHED.pattern))
ALIKE = bytes.maketrans(b"-_", b"+/")


def normalize(data: bytes) -> bytes:
    """Return the text that is searched for forms."""
    if ESCAPE in data:
        last = data.rfind(ESCAPE)
        if _UNFINISHED.match(data, last):
            data = data[:last]
        data = b"".join(SEQUENCE.split(data))  # faster than `sub`
    return data.translate(ALIKE, BREAKS)


def ignored(data: bytes) -> tuple[list[int], list[int]]:
    """Return the offsets in the text at which data was ignored, and its length up to each, after a 0."""
    offsets, lengths = [], [0]
    for match in _IGNORED.finditer(data):
        offsets.append(match.start() - lengths[-1])
        lengths.append(lengths[-1] + len(match[0]))
    return offsets, lengths
