"""
`check --format markdown`: tables for a job's summary, or a comment.

Foreign text is in a code span, where no renderer sees a link, a mention, an image or HTML,
and without the three characters that could end the span or the cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.cli.findings import NONE, fields, name, verdicts
from astro_token.cli.output import harmless
from astro_token.cli.remarks import of_token, of_verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from astro_token.cli.remarks import Remark
    from astro_token.deploy import PreflightReport
    from astro_token.tokens.read_many import TokenReport

__all__ = ["code", "render"]

_OWN_TEXT = ("SCOPE", "ISSUED", "EXPIRES", "ASTRO", "LAST USED", "CI/CD ONLY")  # needs no code span

_ENDING = str.maketrans({"`": "'", "|": "¦", "\\": "?"})
_COLUMNS = {
    "Token": "TOKEN",
    "Reference": "REFERENCE",
    "Backend": "BACKEND",
    "Version": "VERSION",
    "Scope": "SCOPE",
    "Organization": "ORGANIZATION",
    "Workspace": "WORKSPACE",
    "Deployment": "DEPLOYMENT",
    "Token id": "TOKEN ID",
    "Issued": "ISSUED",
    "Expires": "EXPIRES",
    "Astro": "ASTRO",
    "Roles": "ROLES",
    "Last used": "LAST USED",
    "CI/CD only": "CI/CD ONLY",
}


def render(reports: Sequence[TokenReport], deploy: PreflightReport | None, now: datetime) -> str:
    """Render the document, which ends with a line end."""
    rows, faults = [], []
    described = [fields(report, number, now) for number, report in enumerate(reports, 1)]
    titles = [title for title in _COLUMNS if any(_COLUMNS[title] in shown for shown in described)]
    for number, (report, shown) in enumerate(zip(reports, described, strict=True), 1):
        rows.append([*(_cell(_COLUMNS[title], shown) for title in titles), ", ".join(verdicts(report))])
        faults += [_fault(code(name(report, number)), remark) for remark in of_token(report)]
    lines = ["### astro-token check", "", *_table((*titles, "Verdict"), rows)]
    if deploy is not None:
        lines += ["", f"Deploy of {code(str(deploy.path))}: {deploy.status}"]
        faults += [_fault("deploy", remark) for remark in of_verdicts(deploy.verdicts, "")]
    if faults:
        lines += ["", *_table(("About", "Level", "Code", "What is wrong", "What to do"), faults)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Put a text into a code span on one line; a dash stands for an empty text."""
    text = harmless(text).translate(_ENDING).strip()
    return NONE if text in {"", NONE} else f"`{text}`"


def _cell(field: str, shown: Mapping[str, str]) -> str:
    text = shown.get(field, NONE)
    return text if field in _OWN_TEXT else code(text)


def _fault(about: str, remark: Remark) -> list[str]:
    return [about, remark.level, remark.code or NONE, code(remark.message), code(remark.hint or "")]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
