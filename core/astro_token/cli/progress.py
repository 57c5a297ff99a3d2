"""Progress bars on a terminal, for steps that take long."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from astro_token.system.terminal import ended_by_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress", "transfer"]

_FEWEST = 4  # fewer steps are done before a bar could be read


@contextmanager
def progress(total: int, doing: str) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each step."""
    if total < _FEWEST:
        yield lambda: None
        return
    with _bar(doing, "MofNCompleteColumn", total=total, visible=True) as update:
        yield lambda: update(advance=1)


@contextmanager
def transfer(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function to call with the number of bytes received, and the size or None."""
    with _bar(doing, "DownloadColumn", total=None, visible=False) as update:  # nothing to show for a cache
        yield lambda done, size: update(completed=done, total=size, visible=True)


@contextmanager
def _bar(doing: str, column: str, *, total: int | None, visible: bool) -> Iterator[Callable[..., None]]:
    """Yield the function that updates the bar, which disappears at the end."""
    if not sys.stderr.isatty():
        yield lambda **_: None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), getattr(progress, column)())
    bar = progress.Progress(*columns, console=Console(file=sys.stderr), transient=True)
    with bar, ended_by_prompt(bar.stop):
        yield partial(bar.update, bar.add_task(doing, total=total, visible=visible))
