"""Tables for people: as wide as the terminal, plain where there is none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.cli.output import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in head:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))  # Text: no cell is markup
    # Without a terminal nothing is wrapped, so that a line stays a row.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 400
    Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False).print(table)
