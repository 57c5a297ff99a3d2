"""Tables for people: rows where they fit, else a block for each. Plain where there is no terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.cli.output import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

_GAP = 2


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under a head. Nothing is cut or folded: cells are there to be copied."""
    from rich.console import Console

    cells = [[harmless(cell) for cell in row] for row in rows]
    needed = sum(max(map(len, column)) + _GAP for column in zip(head, *cells, strict=True))
    # Without a terminal a line stays a row, however long.
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(file=sys.stdout, width=None if limited else needed, highlight=False)
    if needed - _GAP <= console.width:
        print(_text(console, head, cells))
    else:
        print("\n\n".join(_text(console, None, zip(head, row, strict=True)) for row in cells))


def _text(console: Console, head: Sequence[str] | None, lines: Iterable[Sequence[str]]) -> str:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=head is not None)
    table.header_style = "bold"
    for title in head or ("", ""):
        table.add_column(title, no_wrap=True)
    widest = 0
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))  # Text: no cell is markup
        widest = max(widest, sum(len(cell) + _GAP for cell in line))
    with console.capture() as capture:
        console.print(table, width=max(console.width, widest * 2), no_wrap=True, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
