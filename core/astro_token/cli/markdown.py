"""
`check --format markdown`: tables for a job's summary, or a comment.

Foreign text is in a code span, where no renderer sees a link, a mention, an image or HTML,
and without the three characters that could end the span or the cell.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.ci import ci_system
from astro_token.cli.findings import NONE, chain_lines, fields, name, verdict_lines
from astro_token.cli.output import harmless, line, note
from astro_token.cli.remarks import of_token, of_verdicts
from astro_token.errors import AstroTokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from astro_token.cli.remarks import Remark
    from astro_token.deploy import PreflightReport
    from astro_token.tokens.read_many import TokenReport

__all__ = ["add_summary", "code", "markdown_table", "render"]

_ENDING = str.maketrans({"`": "'", "|": "¦", "\\": "?"})
_COLUMNS = (
    *("Token", "Reference", "Backend", "Version", "Scope", "Organization", "Workspace", "Deployment"),
    *("Token id", "Issued", "Expires", "Astro", "Roles", "Last used", "CI/CD only"),
)
# These hold only our own words, and need no code span.
_OWN_TEXT = ("Scope", "Issued", "Expires", "Astro", "Last used", "CI/CD only")


def render(reports: Sequence[TokenReport], deploy: PreflightReport | None, now: datetime) -> str:
    """Render the document, which ends with a line end."""
    rows, faults = [], []
    described = [fields(report, number, now) for number, report in enumerate(reports, 1)]
    titles = [title for title in _COLUMNS if any(title.upper() in shown for shown in described)]
    for number, (report, shown) in enumerate(zip(reports, described, strict=True), 1):
        rows.append([*(_cell(title, shown) for title in titles), ", ".join(verdict_lines(report))])
        faults += [_fault(code(name(report, number)), remark) for remark in of_token(report)]
    lines = ["### astro-token check", "", *markdown_table((*titles, "Verdict"), rows)]
    chains = [
        [code(name(report, number)), code(line)]
        for number, report in enumerate(reports, 1)
        for line in chain_lines(report)
    ]
    if chains:
        lines += ["", *markdown_table(("Token", "References of its chain"), chains)]
    if deploy is not None:
        lines += ["", f"Deploy of {code(str(deploy.path))}: {deploy.status}"]
        faults += [_fault("deploy", remark) for remark in of_verdicts(deploy.verdicts, "")]
    if faults:
        lines += ["", *markdown_table(("About", "Level", "Code", "What is wrong", "What to do"), faults)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Put a text into a code span on one line; a dash stands for an empty text."""
    text = harmless(text).translate(_ENDING).strip()
    return NONE if text in {"", NONE} else f"`{text}`"


def _cell(title: str, shown: Mapping[str, str]) -> str:
    text = shown.get(title.upper(), NONE)
    return text if title in _OWN_TEXT else code(text)


def _fault(about: str, remark: Remark) -> list[str]:
    return [about, remark.level, remark.code or NONE, code(remark.message), code(remark.hint or "")]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def add_summary(text: str, status: str, environ: Mapping[str, str]) -> None:
    """
    Add Markdown to the summary that the CI system shows with a job, if it has one.

    Neither the summary's file nor its program may be in the checkout.
    A failure is a warning, because the check has its own outcome.

    Args:
        status: the worst status: ok, warning, failed.
    """
    system = ci_system(environ)
    if system is None or system.add_summary is None:
        return
    data = text.encode(errors="replace")
    try:
        destination = system.add_summary(data, status, environ)
    except AstroTokenError as error:
        line("warning", f"the job's summary was not written: {error.message}")
        # The hint of a format offers exec instead, which writes no summary.
        hint = (error.hint or "").removesuffix(", or use exec")
        line("hint", hint or "see the result on standard output")
    except OSError as error:
        line("warning", f"the job's summary was not written: {os.strerror(error.errno or 5).lower()}")
        line("hint", "check that its file can be written, and that the disk has space left")
    else:
        if destination:
            note(f"added {len(data)} bytes of Markdown to {destination}")
