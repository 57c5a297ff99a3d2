"""
Tables for people: rows if they fit, else a block for each.

Without a terminal they have no colour, and a row stays on one line. rich is loaded for a terminal only,
because importing it takes longer than everything else that a table needs.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from astro_token.cli.output import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    Block = Sequence[tuple[str, str]]
    Line = list[tuple[str, str]]  # texts, each with its style

__all__ = ["draw", "laid_out", "show"]

_GAP = 2
_HEAD = "bold"
# By a verdict's first word, which has the same meaning: colour alone carries no information.
_STYLES = {"ok": "green", "warning": "yellow", "error": "red", "failed": "red"}


def show(head: Sequence[str], rows: Sequence[Sequence[str]], blocks: Sequence[Block] = ()) -> None:
    """
    Print rows under a head, or blocks if the rows do not fit or there are none.

    Cells are neither cut nor folded, because people copy them.

    Args:
        blocks: titles and cells of each token; without blocks, each row becomes a block.
    """
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    lines = laid_out(head, rows, blocks, shutil.get_terminal_size().columns if limited else None)
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        from rich.console import Console

        draw(Console(file=sys.stdout, highlight=False), lines)
    else:
        print("\n".join("".join(text for text, _ in line).rstrip() for line in lines))


def laid_out(
    head: Sequence[str], rows: Sequence[Sequence[str]], blocks: Sequence[Block], width: int | None
) -> list[Line]:
    lines = _columns(head, _broken(head, [_harmless(row) for row in rows], width))
    if rows and (width is None or max(map(_width_of, lines)) <= width):
        return lines
    laid: list[Line] = []
    for block in blocks or [list(zip(head, row, strict=True)) for row in rows]:
        cells = [[title, harmless(cell)] for title, cell in block]
        labelled = _columns(("", ""), cells)[1:]
        title = ""
        for line, cell in zip(labelled, cells, strict=True):
            title = cell[0] or title
            line[-1] = (line[-1][0], _style(title, cell[1]))
        laid += [*([[]] if laid else []), *labelled]
    return laid


def _broken(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[Sequence[str]]:
    """Put the first cell on its own line if it leaves no room for the others."""
    if width is None:
        return list(rows)
    others = [max(map(_width, column)) + _GAP for column in zip(head, *rows, strict=True)][1:]
    room = width - sum(others)
    broken: list[Sequence[str]] = []
    for first, *rest in rows:
        own = [first, *("" for _ in rest)]
        broken += [own, ["", *rest]] if _width(first) > room and any(rest) else [[first, *rest]]
    return broken


def _harmless(row: Sequence[str]) -> list[str]:
    """Break up two colons at the start of a line, which GitHub's runner takes for a command."""
    first, *others = map(harmless, row)
    return [f":?{first.lstrip()[2:]}" if first.lstrip().startswith("::") else first, *others]


def draw(console: Console, lines: Iterable[Line]) -> None:
    from rich.text import Text

    for line in lines:
        text = Text()  # no cell is markup
        for part, style in line:
            text.append(part, style=style or None)
        text.rstrip()
        console.print(text, soft_wrap=True)


def _columns(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[Line]:
    # A cell that is alone on its line needs no column.
    sharing = [row for row in cells if any(row[1:])]
    widths = [max(map(_width, column)) + _GAP for column in zip(head, *sharing, strict=True)]
    lines = [[(text + " " * (width - _width(text)), _HEAD) for text, width in zip(head, widths, strict=True)]]
    for row in cells:
        columns = zip(head, row, widths, strict=True)
        lines.append(
            [(text + " " * (width - _width(text)), _style(title, text)) for title, text, width in columns]
        )
    return lines


def _style(title: str, text: str) -> str:
    return _STYLES.get(text.partition(":")[0], "") if title == "VERDICT" else ""


def _width_of(line: Line) -> int:
    return _width("".join(text for text, _ in line).rstrip())


def _width(text: str) -> int:
    """Count the columns on a terminal, where East Asian characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(character) in {"Mn", "Me"} else 2 if east_asian_width(character) in "WF" else 1
        for character in text
    )
