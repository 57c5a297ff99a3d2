"""How far something is that takes a while: for people who wait for it, and for nobody else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress", "transfer"]

_WORTH_IT = 4  # what is fewer is done before anybody looks


@contextmanager
def progress(total: int, doing: str) -> Iterator[Callable[[], None]]:
    """A function to call after each step; on a terminal a bar moves with it, and is gone at the end."""
    if total < _WORTH_IT or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task(doing, total=total)
        yield lambda: shown.advance(task)


@contextmanager
def transfer(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """As `progress`, for bytes: how many have come, and how many there are if that is known."""
    if not sys.stderr.isatty():
        yield lambda _done, _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task(doing, total=None, visible=False)  # not for what is in the cache
        yield lambda done, size: shown.update(task, completed=done, total=size, visible=True)
