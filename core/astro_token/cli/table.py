"""
Print tables for people: rows if they fit, else a block for each.

Without a terminal they have no colour, and a row stays on one line.
Only a terminal needs rich, whose import takes longer than everything else here.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.cli.output import harmless
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    Block = Sequence[tuple[str, str]]
    Line = list[tuple[str, str]]  # texts, each with its style

__all__ = ["draw", "laid_out", "show", "unstyled"]

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
    limited = sys.stdout.isatty() or bool(setting(os.environ, "COLUMNS"))
    width = None
    if limited:
        import shutil  # loads three compressors

        width = shutil.get_terminal_size().columns
    lines = laid_out(head, rows, blocks, width)
    if sys.stdout.isatty() or setting(os.environ, "FORCE_COLOR"):
        from rich.console import Console

        draw(Console(file=sys.stdout, highlight=False), lines)
    else:
        print(unstyled(lines))


def unstyled(lines: Iterable[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def laid_out(
    head: Sequence[str], rows: Sequence[Sequence[str]], blocks: Sequence[Block], width: int | None
) -> list[Line]:
    table = [[(title, _HEAD) for title in head]]
    table += [
        [(text, _style(title, text)) for title, text in zip(head, row, strict=True)]
        for row in _broken(head, [_harmless(row) for row in rows], width)
    ]
    lines = _aligned(table)
    if rows and (width is None or max(map(_width_of, lines)) <= width):
        return lines
    laid: list[Line] = []
    for block in blocks or [list(zip(head, row, strict=True)) for row in rows]:
        table, title = [], ""
        for label, cell in block:
            title, text = label or title, harmless(cell)
            table.append([(label, ""), (text, _style(title, text))])
        laid += [*([[]] if laid else []), *_aligned(table)]
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


def _aligned(rows: Sequence[Line]) -> list[Line]:
    """Pad cells to columns. A cell that is alone on its line needs no column."""
    sharing = [row for row in rows if row is rows[0] or any(text for text, _ in row[1:])]
    widths = [max(_width(text) for text, _ in column) + _GAP for column in zip(*sharing, strict=True)]
    return [
        [
            (text + " " * (width - _width(text)), style)
            for (text, style), width in zip(row, widths, strict=True)
        ]
        for row in rows
    ]


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
