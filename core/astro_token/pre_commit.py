"""
What the hooks of `.pre-commit-hooks.yaml` run.

    python -I -m astro_token.pre_commit scan FILE…      no Astro API token is in these files
    python -I -m astro_token.pre_commit config FILE…    these project files can be read

Without `-I` Python would import modules of the repository that is looked at in place of its own.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.cli.output import report
from astro_token.errors import AstroTokenError, InvalidTokenError, OutputError, UsageError, worst
from astro_token.secret import SecretValue
from astro_token.system.files import open_regular
from astro_token.token import MAX_TOKEN_BYTES, AstroToken

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

_HINT = "take it out, revoke it in Astro if it has left this machine, and store it with `astro-token put`"
# A file is read in blocks, and each begins with the end of the one before: the longest token in UTF-32.
_BLOCK = 4 * 1024 * 1024
_OVERLAP = 4 * MAX_TOKEN_BYTES
# Both begin where nothing of theirs stands before, so that what never ends is gone through once.
_DOTTED = re.compile(rb"(?<![A-Za-z0-9_.-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){2,}+")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{260,}+")  # a token has some 400 bytes at least
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DEPTH = 2  # base64 of base64, as in a Kubernetes secret of a file that has it
_HEADER, _SIGNATURE = 512, 1024  # characters; what has more is followed, or preceded, by something else
# What stands at the ends of lines where a long text is cut into several: of comments, lists and programs.
_LEFT = re.compile(rb"[ \t]*+(?:[#*>|;%]++[ \t]*+|//++[ \t]++|[+.&][ \t]*+(?=[\"'`]))?[\"'`]?")
_RIGHT = re.compile(rb"[ \t]*[\"'`][ \t]*[+.,&]?\Z")


def main(argv: list[str]) -> int:
    """Looks at every file, says what is wrong with each, and returns the exit status."""
    looks = {"scan": _scan, "config": _config}
    if not argv or argv[0] not in looks:
        error = UsageError("no such hook", hint="scan and config are known")
        return report(error.message, error.hint, error.exit_code)
    codes = []
    for name in argv[1:]:
        try:
            if _first(os.fsencode(name)):
                raise OutputError("the name of a file holds an Astro API token", hint=_HINT)
            looks[argv[0]](Path(name))
        except AstroTokenError as error:
            codes.append(report(error.message, error.hint, error.exit_code))
        except OSError as error:
            codes.append(report(f"{name}: the file cannot be read ({type(error).__name__})", None, 74))
    return worst(codes)


def _config(path: Path) -> None:
    from astro_token.settings.project_file import find_project

    find_project(path.absolute().parent)


def _scan(path: Path) -> None:
    for before, block in _blocks(path):
        line = _first(block)
        if line:
            raise OutputError(f"{path}:{before + line}: an Astro API token", hint=_HINT)


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """The content in pieces, each with the number of lines before it; of a link its target, as git has it."""
    if path.is_symlink():
        yield 0, os.fsencode(path.readlink())
        return
    lines, held = 0, b""
    with open_regular(path) as file:
        while block := file.read(_BLOCK):
            held += block
            yield lines, held
            lines += held.count(b"\n", 0, max(0, len(held) - _OVERLAP))
            held = held[-_OVERLAP:]


def _first(data: bytes) -> int:
    """The line in which the first token begins; 0 if there is none."""
    lines = _lines(data)
    at = _token_in(b"".join(lines))
    ends = accumulate(map(len, lines))
    return 0 if at < 0 else next(number for number, end in enumerate(ends, 1) if end > at)


def _lines(data: bytes) -> list[bytes]:
    """Its lines, which put together are what was cut; UTF-16 and UTF-32 are made what they are of."""
    return [_bare(line) for line in data.translate(None, b"\0\r").split(b"\n")]


def _bare(line: bytes) -> bytes:
    if b"\\" in line:  # the line ends of JSON, and of a shell that goes on in the next line
        line = line.replace(b"\\r", b"").replace(b"\\n", b"").rstrip(b" \t").removesuffix(b"\\")
    line = line.rstrip(b" \t")
    found = _RIGHT.search(line, max(0, len(line) - 8))
    start = _LEFT.match(line)
    return line[start.end() if start else 0 : found.start() if found else None]


def _token_in(text: bytes, depth: int = 0) -> int:
    """Where a token begins, plain or in base64; -1 if there is none."""
    for chain in _DOTTED.finditer(text):
        at = chain.start()
        parts = chain[0].split(b".")
        for header, claims, signature in zip(parts, parts[1:], parts[2:], strict=False):
            if any(word in claims for word in _PERMISSIONS):
                begin = _header_of(header, claims, signature)
                if begin >= 0:
                    return at + begin
            at += len(header) + 1
    for run in _BASE64.finditer(text) if depth < _DEPTH else ():
        packed = run[0].translate(_URL_SAFE)
        # What stands before it in the same text may begin in the middle of four.
        for shift in range(4):
            decoded = base64.b64decode(packed[shift : shift + (len(packed) - shift) // 4 * 4])
            inner = _token_in(b"".join(_lines(decoded)), depth + 1)
            if inner >= 0:
                return run.start() + shift + inner * 4 // 3
    return -1


def _header_of(before: bytes, claims: bytes, signature: bytes) -> int:
    """Where in the text before the first dot a token begins that goes on with these; -1 if none does."""
    at = before.find(b"eyJ", max(0, len(before) - _HEADER))
    while at >= 0:
        if _is_token(b".".join((before[at:], claims, signature[:_SIGNATURE]))):
            return at
        at = before.find(b"eyJ", at + 1)
    return -1


def _is_token(data: bytes) -> bool:
    try:
        AstroToken.parse(SecretValue(data))
    except InvalidTokenError:
        return False
    return True


def _in_base64(word: bytes) -> tuple[bytes, ...]:
    """What is always in base64 of a text that holds the word, wherever the word stands."""
    texts = (base64.urlsafe_b64encode(bytes(before) + word) for before in range(3))
    whole = (len(word) * 8 - 6) // 6  # characters that are of nothing but the word
    return tuple(text[-(-before * 8 // 6) :][:whole] for before, text in enumerate(texts))


_PERMISSIONS = _in_base64(b"permissions")  # every Astro API token has them


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
