"""
The hooks of `.pre-commit-hooks.yaml`.

    python -I -m astro_token.pre_commit scan FILE…      refuse files that contain an Astro API token
    python -I -m astro_token.pre_commit config FILE…    refuse invalid project files

Without `-I` Python would import modules of the scanned repository in place of its own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.cli.output import report
from astro_token.errors import AstroTokenError, InvalidTokenError, OutputError, UsageError, worst
from astro_token.secret import SecretValue
from astro_token.system.files import open_regular
from astro_token.token import MAX_TOKEN_BYTES, AstroToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    _Numbers = tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]

__all__ = ["main"]

_HINT = "remove it, revoke it in Astro if it has left this machine, and store it with `astro-token put`"
# A file is read in blocks. Each begins with the end of the last one: the longest token, and its separators.
_BLOCK = 4 * 1024 * 1024
_OVERLAP = 8 * MAX_TOKEN_BYTES
_DEPTH = 2  # base64 of base64, as in a Kubernetes secret of an encoded file
_HEADER, _SIGNATURE = 512, 1024  # characters; what follows a signature is other text

# Escapes are undone first. Their control characters become blanks, so that lines keep their numbers.
_BLANKS = bytes.maketrans(bytes(range(32)), b" " * 32)
_ESCAPE_MARKS = re.compile(rb"%(?:25)*(?=[0-9A-Fa-f]{2})|[\\%]++(?:u00|x)|=")
_ESCAPES: list[tuple[re.Pattern[bytes], bytes | Callable[[re.Match[bytes]], bytes]]] = [
    (
        re.compile(rb"(?:\x1b|(?<!\\)\\++(?:u00|x)1[bB]|(?<!\\)\\++0?33|\\e|\^\[)\[[0-9;]*+[A-Za-z]"),
        b" ",
    ),  # colours
    (
        re.compile(rb"&#(?:[0-9]{2,4}|[xX][0-9A-Fa-f]{2,4});"),
        lambda entity: _character(entity[0]),
    ),
    (
        # Not the `\x` that begins a long text in hex.
        re.compile(
            rb"(?:(?:%(?:25)*|%u00|(?<!\\)\\++(?:u00|x(?![0-9A-Fa-f]{10}))|=(?=2[DE]|5F))[0-9A-Fa-f]{2})+"
        ),
        lambda run: bytes.fromhex(_ESCAPE_MARKS.sub(b"", run[0]).decode()).translate(_BLANKS),
    ),
    (re.compile(rb"(?<!\\)\\++[nrt]"), b" "),
    (re.compile(rb"(?<!\\)\\++(?=[/_.-])"), b""),
]
_DIFF_MARKS = re.compile(rb"(?m)^[+-]")

# Texts are broken into lines and strings in many manners, and each line may get a prefix. What is left of
# a token are long fragments, between short words and other characters. A short one counts if it fills a line.
# The words next to some fragments, such as an id on each line, are long: short fragments are left out then.
_LENGTHS = (16, 41)
_TOKEN = [
    re.compile(
        rb"(?m)(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]{%d,}+"
        rb"|^(?:[^A-Za-z0-9_.\n-]++|[_.-]++(?![A-Za-z0-9_.-]))*+(?:[bfru]{1,2}[\"'])?"
        rb"([A-Za-z0-9_.-]{1,%d}+)[^A-Za-z0-9\n]*+$" % (length, length - 1)
    )
    for length in _LENGTHS
]
_BASE64 = [re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{%d,}+" % length) for length in _LENGTHS]
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_JSON = json.JSONDecoder()


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
    text = _unescaped(data, 0)
    at = _token_in(text, 0)
    return 0 if at < 0 else text.count(b"\n", 0, at) + 1


def _unescaped(data: bytes, depth: int) -> bytes:
    """Reduce UTF-16 and UTF-32 to ASCII and undo escapes; empty if nothing looks like a token."""
    text = data.translate(None, b"\0")
    if not (_begins(text, 0, depth) or _in_numbers(text)):
        return b""
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return _DIFF_MARKS.sub(b" ", text) if b"\n@@ " in text else text


def _character(entity: bytes) -> bytes:
    from html import unescape

    return unescape(entity.decode()).encode().translate(_BLANKS)


def _in_numbers(text: bytes) -> bool:
    return any(beginning.search(text) for beginning, _, _ in _NUMBERS.values())


def _begins(text: bytes, least: int, depth: int) -> bool:
    """True if a token may begin in a text: unencoded, or in base64 this number of times or more."""
    return any(word in text for words in _BEGINNINGS[least : _DEPTH - depth + 1] for word in words)


def _token_in(text: bytes, depth: int) -> int:
    """Return the offset of a token, also in base64 or hex; -1 if there is none."""
    for fragments in _fragments(_TOKEN, text) if b"eyJ" in text else ():
        at = _token_of(fragments.joined)
        if at >= 0:
            return fragments.offset(at)
    for fragments in _fragments(_BASE64, text) if _begins(text, 1, depth) else ():
        packed = fragments.joined.translate(_URL_SAFE)
        # Other text before the token may shift it within a group of four characters.
        for shift in range(4):
            decoded = base64.urlsafe_b64decode(packed[shift : shift + (len(packed) - shift) // 4 * 4])
            at = _token_in(_unescaped(decoded, depth + 1), depth + 1)
            if at >= 0:
                return fragments.offset(min(shift + at * 4 // 3, len(packed) - 1))
    for base, (beginning, numbers, number) in _NUMBERS.items() if depth < _DEPTH else ():
        for run in numbers.finditer(text) if beginning.search(text) else ():
            decoded = bytes(int(digits, base) for digits in number.findall(run[0]))
            if _token_in(_unescaped(decoded, depth + 1), depth + 1) >= 0:
                return run.start()
    return -1


def _fragments(patterns: Sequence[re.Pattern[bytes]], text: bytes) -> Iterator[_Fragments]:
    """Yield the fragments by each pattern, if they differ from those by the one before."""
    joined = b""
    for pattern in patterns:
        fragments = _Fragments(pattern, text)
        if fragments.joined != joined:
            yield fragments
        joined = fragments.joined


class _Fragments:
    """
    The fragments of a text that may belong to a token.

    Attributes:
        joined: all of them, without dots: the ends of a token's parts are those of their JSON.
    """

    def __init__(self, pattern: re.Pattern[bytes], text: bytes) -> None:
        self._starts: list[int] = []
        self._texts: list[bytes] = []
        recent = [b""] * 8
        for number, match in enumerate(pattern.finditer(text)):
            fragment = match[match.lastindex or 0]
            if fragment not in recent:  # else the prefix of each line
                self._starts.append(match.start(match.lastindex or 0))
                self._texts.append(fragment.replace(b".", b""))
            recent[number % 8] = fragment
        self.joined = b"".join(self._texts)

    def offset(self, at: int) -> int:
        """Return the offset in the text of an offset in the joined fragments."""
        ends = list(accumulate(map(len, self._texts)))
        number = bisect_right(ends, at)
        return self._starts[number]


def _token_of(text: bytes) -> int:
    """Return the offset of a token without dots; -1 if there is none."""
    permissions = -1
    for header in _ALGORITHM.finditer(text):
        if permissions < header.end():
            claim = _PERMISSIONS.search(text, header.end())
            if not claim:
                return -1
            permissions = claim.start()
        at = text.rfind(b"eyJ", max(0, header.start() - _HEADER), header.start() + 1)
        if at >= 0 and permissions - at < MAX_TOKEN_BYTES:
            claims = _end_of_json(text, at)
            signature = _end_of_json(text, claims) if claims else 0
            if signature > permissions and _is_token(
                b".".join((text[at:claims], text[claims:signature], text[signature : signature + _SIGNATURE]))
            ):
                return at
    return -1


def _end_of_json(text: bytes, at: int) -> int:
    """Return the offset after the base64 of a JSON object; 0 if it is not one."""
    if text.startswith(b"eyJ", at):
        for longest in (1024, MAX_TOKEN_BYTES):  # most of them are short
            packed = text[at : at + longest]
            decoded = base64.urlsafe_b64decode(packed + b"A" * (-len(packed) % 4))
            with suppress(ValueError, RecursionError):
                end = _JSON.raw_decode(decoded.decode("latin-1"))[1]  # a character for each byte
                return at + -(-end * 8 // 6)
    return 0


def _is_token(data: bytes) -> bool:
    try:
        token = AstroToken.parse(SecretValue(data))
    except InvalidTokenError:
        return False
    # Other services' tokens have permissions too.
    return any((token.organization, token.workspace, token.deployment, token.token_id))


def _in_base64(word: bytes) -> tuple[bytes, ...]:
    """Return the base64 characters that a word produces at each of the three offsets."""
    texts = (base64.urlsafe_b64encode(bytes(before) + word) for before in range(3))
    count = (len(word) * 8 - 6) // 6  # characters that depend on the word alone
    return tuple(text[-(-before * 8 // 6) :][:count] for before, text in enumerate(texts))


def _any(texts: Iterable[bytes]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, texts)))


_ALGORITHM = _any(_in_base64(b'"alg"'))
_PERMISSIONS = _any(_in_base64(b"permissions"))  # a claim of every Astro API token
# The first characters of header and claims, by the depth of base64.
_BEGINNINGS = [{b"eyJ"}]
for _ in range(_DEPTH):
    words = _BEGINNINGS[-1] | {b"e\0y\0J"}  # UTF-16
    _BEGINNINGS.append({form for word in words for form in _in_base64(word)})


def _numbers(beginning: bytes, digits: bytes, before: bytes, between: bytes) -> _Numbers:
    """Match a token's beginning and a text, of which each character is a number."""
    texts = re.compile(rb"(?<![0-9A-WYZa-wyz])(?:" + before + digits + between + b"+){8,}+")
    # Where it begins, each number may still be escaped.
    return (
        re.compile((between + rb"(?:0?x|0o?|u00|(?:25)+)?").join(beginning.split())),
        texts,
        re.compile(digits),
    )


_NUMBERS: dict[int, _Numbers] = {  # by their base; in hex they may follow each other directly
    16: _numbers(b"65 79 4[aA]", rb"[0-9A-Fa-f]{2}", rb"(?:0?[xX])?", rb"[^0-9A-Za-z]{0,8}"),
    10: _numbers(b"101 121 74", rb"[01]?[0-9]{2}", b"", rb"[^0-9A-Za-z]{1,8}"),
    8: _numbers(b"145 171 112", rb"[01]?[0-7]{2}", rb"(?:0o)?", rb"[^0-9A-Za-z]{1,8}"),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
