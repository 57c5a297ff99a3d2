"""
What the hooks of `.pre-commit-hooks.yaml` run.

    python -m astro_token.pre_commit scan FILE…      no Astro API token is in these files
    python -m astro_token.pre_commit config FILE…    these project files can be read
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.cli.output import report
from astro_token.errors import AstroTokenError, InvalidTokenError, OutputError, UsageError, worst
from astro_token.secret import SecretValue
from astro_token.token import AstroToken

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
# What could be base64 of a token, which has some 400 bytes at least, line ends of it included.
_BASE64 = re.compile(
    rb"[A-Za-z0-9+/_-]{60}(?:[A-Za-z0-9+/_-]|\r?\n[ \t]*(?=[A-Za-z0-9+/_-]{20})){200,}={0,2}"
)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def main(argv: list[str]) -> int:
    """Looks at every file, says what is wrong with each, and returns the exit status."""
    looks = {"scan": _scan, "config": _config}
    if not argv or argv[0] not in looks:
        error = UsageError("no such hook", hint="scan and config are known")
        return report(error.message, error.hint, error.exit_code)
    codes = []
    for name in argv[1:]:
        try:
            looks[argv[0]](Path(name))
        except AstroTokenError as error:
            codes.append(report(error.message, error.hint, error.exit_code))
        except OSError as error:
            codes.append(report(f"{name}: the file cannot be read ({type(error).__name__})", None, 74))
    return worst(codes)


def _scan(path: Path) -> None:
    if path.is_symlink():
        return  # what is committed of a link is where it leads to
    data = path.read_bytes()
    for at in _tokens(data):
        line = data.count(b"\n", 0, at) + 1
        raise OutputError(
            f"{path}:{line}: an Astro API token",
            hint="take it out, revoke it in Astro if it has left this machine, "
            "and store it with `astro-token put`",
        )


def _tokens(data: bytes) -> Iterator[int]:
    """Where tokens begin, plain or in base64."""
    for found in _TOKEN.finditer(data):
        if _is_token(found[0]):
            yield found.start()
    for found in _BASE64.finditer(data):
        text = b"".join(found[0].split()).rstrip(b"=").translate(_URL_SAFE)
        # What stands before it in the same text may begin in the middle of four.
        for shift in range(4):
            piece = text[shift:]
            decoded = base64.b64decode(piece[: len(piece) // 4 * 4])
            if any(_is_token(inner[0]) for inner in _TOKEN.finditer(decoded)):
                yield found.start()
                break


def _is_token(data: bytes) -> bool:
    try:
        AstroToken.parse(SecretValue(data))
    except InvalidTokenError:
        return False
    return True


def _config(path: Path) -> None:
    from astro_token.project import find_project

    find_project(path.absolute().parent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
