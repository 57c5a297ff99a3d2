"""
The hooks of `.pre-commit-hooks.yaml`.

    python -I -m astro_token.pre_commit scan FILE…      refuse files that contain an Astro API token
    python -I -m astro_token.pre_commit config FILE…    refuse invalid project files

Without `-I` Python would import modules of the scanned repository in place of its own.
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

_HINT = "remove it, revoke it in Astro if it has left this machine, and store it with `astro-token put`"
# A file is read in blocks. Each begins with the end of the last one: the longest token in UTF-32.
_BLOCK = 4 * 1024 * 1024
_OVERLAP = 4 * MAX_TOKEN_BYTES
# The lookbehinds make each run match once, so that a long one is searched only once.
_DOTTED = re.compile(rb"(?<![A-Za-z0-9_.-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){2,}+")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{260,}+")  # a token has at least 400 bytes or so
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_DEPTH = 2  # base64 of base64, as in a Kubernetes secret of an encoded file
_HEADER, _SIGNATURE = 512, 1024  # characters; the rest of a longer part is other text
# Characters at the ends of lines in a text that is broken into lines: of comments, lists and programs.
_LEFT = re.compile(rb"[ \t]*+(?:[#*>|;%]++[ \t]*+|//++[ \t]++|[+.&][ \t]*+(?=[\"'`]))?[\"'`]?")
_RIGHT = re.compile(rb"[ \t]*[\"'`][ \t]*[+.,&]?\Z")


def main(argv: list[str]) -> int:
    """Check every file, report the problems, and return the exit status."""
    hooks = {"scan": _scan, "config": _config}
    if not argv or argv[0] not in hooks:
        error = UsageError("unknown hook", hint="the hooks are scan and config")
        return report(error.message, error.hint, error.exit_code)
    codes = []
    for name in argv[1:]:
        try:
            if _first(os.fsencode(name)):
                raise OutputError("the name of a file contains an Astro API token", hint=_HINT)
            hooks[argv[0]](Path(name))
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
            raise OutputError(f"{path}:{before + line} contains an Astro API token", hint=_HINT)


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield blocks with the number of lines before each; for a link its target, which git stores."""
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
    """Return the line in which the first token begins; 0 if there is none."""
    lines = _lines(data)
    at = _token_in(b"".join(lines))
    ends = accumulate(map(len, lines))
    return 0 if at < 0 else next(number for number, end in enumerate(ends, 1) if end > at)


def _lines(data: bytes) -> list[bytes]:
    """Split into lines without their decoration, and reduce UTF-16 and UTF-32 to ASCII."""
    return [_without_decoration(line) for line in data.translate(None, b"\0\r").split(b"\n")]


def _without_decoration(line: bytes) -> bytes:
    if b"\\" in line:  # line ends in JSON, and continued lines of a shell
        line = line.replace(b"\\r", b"").replace(b"\\n", b"").rstrip(b" \t").removesuffix(b"\\")
    line = line.rstrip(b" \t")
    end = _RIGHT.search(line, max(0, len(line) - 8))
    start = _LEFT.match(line)
    return line[start.end() if start else 0 : end.start() if end else None]


def _token_in(text: bytes, depth: int = 0) -> int:
    """Return the offset of a token, also in base64; -1 if there is none."""
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
        # Other text before the token may shift it within a group of four characters.
        for shift in range(4):
            decoded = base64.b64decode(packed[shift : shift + (len(packed) - shift) // 4 * 4])
            inner = _token_in(b"".join(_lines(decoded)), depth + 1)
            if inner >= 0:
                return run.start() + shift + inner * 4 // 3
    return -1


def _header_of(before: bytes, claims: bytes, signature: bytes) -> int:
    """Return the offset at which a token begins before the first dot; -1 if none does."""
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
    """Return the base64 characters that a word produces at each of the three offsets."""
    texts = (base64.urlsafe_b64encode(bytes(before) + word) for before in range(3))
    count = (len(word) * 8 - 6) // 6  # characters that depend on the word alone
    return tuple(text[-(-before * 8 // 6) :][:count] for before, text in enumerate(texts))


_PERMISSIONS = _in_base64(b"permissions")  # a claim of every Astro API token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
