"""Generated outputs of a token: folded, with prefixes, indentation, boxes, colours and truncation."""

from __future__ import annotations

import base64
import random
import re
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING

from astro_token.testing import make_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.masker.filter import Filter

LARGE = 5000
SIZE = 24  # characters of the claims or the signature that must not be shown
_WORDS = ("INFO", "the", "request", "of", "a", "worker", "failed", "with", "status", "500", "retried")
_COLOURS = (b"\x1b[31m", b"\x1b[0m", b"\x1b[1;38;5;200m", b"\x1b[K", b"\x1b(B", b"\x1b]8;;https://x.y\x07")


class Stream:
    """
    Some text, and in it a part of the token that is long enough, in one of many layouts.

    Attributes:
        pieces: those that must not be shown.
    """

    def __init__(self, number: int, token: bytes) -> None:
        source = random.Random(number)  # noqa: S311
        form = source.choice(("raw",) * 12 + ("hex", "HEX", "base64", "twice", "utf-16"))
        _, claims, signature = token.split(b".")
        if form in {"raw", "utf-16"}:
            text, least, size = part(source, token), 8, SIZE
            checked = [claims, signature]
        else:
            text, least, size = FORMS[form](source.choice((signature, claims + b"." + signature)))
            checked = [text]
        self.pieces = [part[at : at + size] for part in checked for at in range(len(part) - size + 1)]
        before, behind = prefix(source, boxes=form != "utf-16")
        # Behind a prefix each line has to have 8 letters or digits.
        narrow = () if {*b"-_"} & {*text} else range(least, least + 16)
        widths = (1, 2, 3, 5, 7) if source.random() < 0.1 and not before(0) + behind.strip() else ()
        width = source.choice(widths or (*narrow, 16, 20, 24, 37, 40, 64, 76, 100, 2000))
        lines = [text[at : at + width] for at in range(0, len(text), width)]
        if source.random() < 0.3 and form != "utf-16":
            lines = [coloured(source, line) for line in lines]
        body = b"".join(before(at) + line + behind for at, line in enumerate(lines))
        parts = [around(source) + b"\n", body, around(source) + b"\n"]
        if form == "utf-16":
            parts = [part.decode().encode("utf-16-le") for part in parts]
        self.data = b"".join(parts)
        self._logs = [part for part in (parts[0], parts[2]) if len(part) > LARGE]

    def shown(self, out: bytes) -> list[bytes]:
        """Return the pieces that are in an output, also if its layout is removed."""
        for log in self._logs:  # to search a large one takes time
            out = out.replace(log, b"")
        bare = _SEQUENCE.sub(b"", out.replace(b"\0", b""))
        folded = b"".join(_LAYOUT.sub(b"", line) for line in bare.split(b"\n"))
        return [piece for piece in self.pieces if piece in folded or piece in bare]


# The text, the letters that are enough to recognize it, and those that SIZE characters of the token have.
FORMS: dict[str, Callable[[bytes], tuple[bytes, int, int]]] = {
    "hex": lambda text: (text.hex().encode(), 16, 2 * SIZE),
    "HEX": lambda text: (text.hex().upper().encode(), 16, 2 * SIZE),
    "base64": lambda text: (base64.b64encode(text), 8, 32),
    "twice": lambda text: (base64.b64encode(base64.b64encode(text)), 8, 44),
}


def around(source: random.Random) -> bytes:
    """A few words, or a large part of a log."""
    if source.random() < 0.9:
        return words(source)
    log = large_log()
    start = source.randrange(len(log) // 2)
    return log[start : start + source.randint(LARGE, 100_000)]


@lru_cache(1)
def large_log() -> bytes:
    return ordinary(0, 400_000, tokens=False)  # their claims are those of this token


def part(source: random.Random, token: bytes) -> bytes:
    header, claims, signature = token.split(b".")
    kind = source.randrange(6)
    if kind == 0:
        return token
    if kind == 1:
        return token[: -source.randint(1, 200)]
    if kind == 2:
        return token[source.randint(1, len(header) + 40) :]
    if kind == 3:
        at = source.randrange(len(signature) - SIZE)
        return signature[at : at + source.randint(SIZE, 200)]
    return claims + b"." + signature if kind == 4 else signature


def prefix(source: random.Random, *, boxes: bool) -> tuple[Callable[[int], bytes], bytes]:
    spaces = b" " * source.randint(0, 12)
    kind = source.choice((0, 1, 2, 3, 4, 5, 6) if boxes else (0, 1, 2, 4, 5, 6))
    befores: dict[int, Callable[[int], bytes]] = {
        0: lambda _: b"",
        1: lambda _: spaces,
        2: lambda at: b"2026-01-02T03:04:%02d.%03dZ INFO worker[%d]: " % (at % 60, at * 7 % 1000, 4000 + at),
        3: lambda _: spaces + "│ ".encode(),
        4: lambda at: b"%4d: " % at,
        5: lambda _: b"# ",
        6: lambda at: b"job-%d  | " % at,
    }
    ends = {3: " │\n".encode(), 5: b" \\\r\n"}
    return befores[kind], ends.get(kind, b"\n")


def coloured(source: random.Random, line: bytes) -> bytes:
    at = source.randrange(len(line))
    return line[:at] + source.choice(_COLOURS) + line[at:]


def words(source: random.Random) -> bytes:
    return " ".join(source.choices(_WORDS, k=source.randint(1, 20))).encode()


def ordinary(number: int, size: int, *, tokens: bool = True) -> bytes:
    """Logs with hashes, UUIDs, base64 of other data and tokens of the same issuer."""
    source = random.Random(number)  # noqa: S311
    makers: tuple[Callable[[], str], ...] = (
        lambda: words(source).decode(),
        lambda: f"sha256:{source.randbytes(32).hex()}",
        lambda: f"request {uuid.UUID(bytes=source.randbytes(16))}",
        lambda: f"data: {base64.b64encode(source.randbytes(source.randint(30, 600))).decode()}",
        lambda: f"Authorization: Bearer {make_token()}",
        lambda: f"\x1b[32mairflow.models.dagbag.DagBag\x1b[0m {source.randbytes(8).hex(':')} TaskInstance",
    )
    lines: list[str] = []
    length = 0
    while length < size:
        kind = source.choices(makers, (20, 3, 3, 2, tokens, 3))[0]
        lines.append(f"2026-01-02T03:04:05.{source.randrange(1000):03}Z INFO - {kind()}")
        length += len(lines[-1]) + 1
    return "\n".join(lines).encode()


def through(filter_: Filter, data: bytes, number: int) -> bytes:
    """Pass the data in a few parts, of which some are followed by a silence."""
    source = random.Random(-number)  # noqa: S311
    out = b""
    while data:
        size = source.choice((1, 5, 60, 700, len(data)))
        out += filter_.feed(data[:size])
        data = data[size:]
        if source.random() < 0.05:
            out += filter_.pause()
    return out + filter_.end()


_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[@-~]|\(B|\]8[^\x07]*\x07)")
_LAYOUT = re.compile(
    rb"^(?:2026-\S+ INFO worker\[\d+\]: | *\xe2\x94\x82 | *\d+: |# |job-\d+  \| | +)"
    rb"|(?: \xe2\x94\x82| \\)?\r?$"
)
