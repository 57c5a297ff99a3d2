"""The matrix as people read it: a line for each fault, a column for each subject, what is wrong below."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.matrix.cell import Cell

__all__ = ["table"]

_SHORT = {
    "challenge": "chal",
    "decrypt": "decr",
    "describe": "desc",
    "encrypt": "encr",
    "impersonation": "acts",
    "login": "logn",
    "question": "ask",
    "write": "writ",
}


def table(cells: Sequence[Cell], seconds: float) -> str:
    """
    Below the backends stands what was done; before the fault, all other requests were answered as ever.
    """
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    by_place = {(cell.subject, cell.fault): cell for cell in cells}
    left = max(map(len, faults))
    lines = [
        "exit codes; - it cannot be there, ! it is wrong, a comma: at the last of several requests",
        _backends(subjects, left),
        " " * left + "".join(f" {_short(name):4}" for name in subjects),
    ]
    for fault in faults:
        shown = (by_place.get((subject, fault)) for subject in subjects)
        lines.append(f"{fault:{left}}" + "".join(f" {_shown(cell):4}" for cell in shown))
    wrong = [cell for cell in cells if cell.wrong]
    lines += [f"! {cell.subject} | {cell.fault}: {'; '.join(cell.wrong)}" for cell in wrong]
    late = max((cell.seconds for cell in cells), default=0.0)
    lines.append(
        f"{len(cells)} cells, {len(wrong)} wrong, in {seconds:.0f} s; the slowest cell took {late:.2f} s"
    )
    return "\n".join(line.rstrip() for line in lines)


def _backends(subjects: Sequence[str], left: int) -> str:
    groups = [(name, len(list(group))) for name, group in groupby(subjects, lambda name: name.split()[0])]
    return " " * left + "".join(f" {name[: 5 * count - 1]:{5 * count - 1}}" for name, count in groups)


def _short(subject: str) -> str:
    what = subject.partition(" ")[2]
    if what.startswith("after"):
        return "aftr"
    first, _, later = what.partition(",")
    return _SHORT.get(first, first)[: 3 if later else 4] + ("," if later else "")


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    code = cell.code if isinstance(cell.code, int) else "??"
    return f"{code}{'!' if cell.wrong else ''}"
