"""
Tables for people: rows where they fit, else a block for each.

Without a terminal they are plain, and a row stays a line; rich is loaded for a terminal only,
because it takes longer than all else that is done for a table.
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
# By a verdict's first word, which says the same: nothing is told by colour alone.
_STYLES = {"ok": "green", "warning": "yellow", "error": "red", "failed": "red"}


def show(head: Sequence[str], rows: Sequence[Sequence[str]], blocks: Sequence[Block] = ()) -> None:
    """
    Prints rows under a head, or blocks where they do not fit or there are no rows.

    Nothing is cut or folded: cells are there to be copied.

    Args:
        blocks: of titles and cells, one for each of what the rows are of; without any, each row is one.
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
    found: list[Line] = []
    for block in blocks or [list(zip(head, row, strict=True)) for row in rows]:
        cells = [[title, harmless(cell)] for title, cell in block]
        labelled = _columns(("", ""), cells)[1:]
        title = ""
        for line, cell in zip(labelled, cells, strict=True):
            title = cell[0] or title
            line[-1] = (line[-1][0], _style(title, cell[1]))
        found += [*([[]] if found else []), *labelled]
    return found


def _broken(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[Sequence[str]]:
    """Rows whose first cell leaves the others no room have it on a line of its own."""
    if width is None:
        return list(rows)
    others = [max(map(_width, column)) + _GAP for column in zip(head, *rows, strict=True)][1:]
    room = width - sum(others)
    found: list[Sequence[str]] = []
    for first, *rest in rows:
        own = [first, *("" for _ in rest)]
        found += [own, ["", *rest]] if _width(first) > room and any(rest) else [[first, *rest]]
    return found


def _harmless(row: Sequence[str]) -> list[str]:
    """GitHub's runner takes a line for a command that begins with two colons, blanks in front or not."""
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
    # A cell that is alone in its line takes all of it.
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
    """On a terminal, where characters of East Asia take two columns."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(one) in {"Mn", "Me"} else 2 if east_asian_width(one) in "WF" else 1 for one in text
    )
