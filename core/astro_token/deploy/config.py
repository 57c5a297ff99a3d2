"""Small text files of a project, read with a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.system.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["text_of"]

_MAX_BYTES = 256 * 1024


def text_of(path: Path, limit: int = _MAX_BYTES) -> str | None:
    """The text of a file; None if it is missing, cannot be read or is too long."""
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return None if len(data) > limit else data.decode("utf-8", errors="replace").removeprefix("\ufeff")
