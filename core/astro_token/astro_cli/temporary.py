"""Files that become others when they are whole."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["beside"]


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """
    A name for what is to replace the path, and which nothing has after the block.

    What a kill leaves under such a name is removed by `files.sweep`.
    """
    temporary = path.parent / f".{path.name}.{os.urandom(8).hex()}.tmp"
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
