"""The text of an output in which forms are looked for."""

from __future__ import annotations

import re

__all__ = ["ALIKE", "BREAKS", "ESCAPE", "SEQUENCE", "passed_over", "plain"]

# Line ends are passed over, because encoders break their lines; so there is no second set of forms for each
# width. So are colours, which a search or a highlighted log puts in the middle of a value, and at the
# end a colour that is not whole yet. And both alphabets of base64 are read as one.
BREAKS = b"\r\n"
ESCAPE = b"\x1b"
SEQUENCE = re.compile(rb"\x1b\[[0-?]*[@-~]")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]{0,32})?\Z")
_PASSED_OVER = re.compile(rb"[\r\n]|%s|%s" % (SEQUENCE.pattern, _UNFINISHED.pattern))
ALIKE = bytes.maketrans(b"-_", b"+/")


def plain(data: bytes) -> bytes:
    """The text in which forms are looked for."""
    if ESCAPE in data:
        last = data.rfind(ESCAPE)
        if _UNFINISHED.match(data, last):
            data = data[:last]
        data = b"".join(SEQUENCE.split(data))  # faster than `sub`
    return data.translate(ALIKE, BREAKS)


def passed_over(data: bytes) -> tuple[list[int], list[int]]:
    """Where in the text something is passed over, and how much of the data is up to each, 0 in front."""
    places, lengths = [], [0]
    for found in _PASSED_OVER.finditer(data):
        places.append(found.start() - lengths[-1])
        lengths.append(lengths[-1] + len(found[0]))
    return places, lengths
