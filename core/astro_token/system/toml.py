"""Parsing of TOML files that other people wrote."""

from __future__ import annotations

from astro_token.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

__all__ = ["MAX_BYTES", "parse_toml"]

MAX_BYTES = 64 * 1024
_MAX_DOTS = 200  # tomllib takes quadratic time for a key with many parts, and a key is part of one line


def parse_toml(
    path: Path, data: bytes, *, limit: int = MAX_BYTES, shorten: str = "shorten it"
) -> dict[str, Any]:
    """
    Parse a file, in bounded time.

    Args:
        limit: the most bytes that the file may have.
        shorten: the hint for a file that is too long.

    Raises:
        ConfigError: it is too long, or not valid TOML. The message repeats nothing of it.
    """
    if len(data) > limit:
        raise ConfigError(f"{path} is longer than {limit // 1024} KiB", hint=shorten)
    for number, line in enumerate(data.splitlines(), 1):
        if line.count(b".") > _MAX_DOTS and not line.lstrip().startswith(b"#"):
            raise ConfigError(
                f"{path}: line {number} has more than {_MAX_DOTS} dots",
                hint="split the line, or shorten its key",
            )
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # editors on Windows write a byte-order mark
    except RecursionError:
        position = ""
    except ValueError as error:  # its text may repeat the content: only the position is shown
        position = _position(str(error))
    raise ConfigError(
        f"{path} is not valid TOML{position}", hint="correct the file; https://toml.io has the rules"
    )


def _position(text: str) -> str:
    import re

    position = re.search(r"at (line \d+), column \d+", text)
    return f" ({position[1]})" if position else ""
