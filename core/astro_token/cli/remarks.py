"""Report findings on standard error, and in the CI system's own list of errors and warnings."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from astro_token.ci import ci_system
from astro_token.ci.system import harmless, say
from astro_token.cli.output import line
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astro_token.policy.rules import Verdict
    from astro_token.tokens.read_many import TokenReport

__all__ = ["Remark", "annotation", "of_token", "of_verdicts", "show_remarks"]


class Remark(Record):
    """
    Attributes:
        about: a token, or the deploy; "" if the message names it.
        code: the verdict's code; None for an error that is not a verdict.
    """

    level: Literal["error", "warning"]
    about: str
    code: str | None
    message: str
    hint: str | None

    @property
    def line(self) -> str:
        return f"{self.about}: {self.message}" if self.about else self.message


def of_verdicts(verdicts: Iterable[Verdict], about: str) -> list[Remark]:
    return [Remark(verdict.level, about, verdict.code, verdict.message, verdict.hint) for verdict in verdicts]


def of_token(report: TokenReport) -> list[Remark]:
    """Return the remarks about a token. Warnings come first, so that errors are last on the terminal."""
    settings = report.settings
    name = (settings.name if settings else None) or ""
    ref = str(settings.ref) if settings else ""
    about = f"{name} ({ref})" if name else ref
    remarks = sorted(of_verdicts(report.verdicts, about), key=lambda remark: remark.level == "error")
    # The report's error may be one of the verdicts, but a failed request to Astro is not.
    error = report.online.error if report.online else None
    if error is None and not any(remark.level == "error" for remark in remarks):
        error = report.error
    if error is None:
        return remarks
    message = error.message.removeprefix(f"{ref}: ") if ref else error.message
    if ref and ref in message:
        about = name
    return [*remarks, Remark("error", about, None, message, error.hint)]


def show_remarks(remarks: Iterable[Remark]) -> None:
    """Show remarks to people, and to the CI system if it has a list for them."""
    for remark in remarks:
        line(remark.level, remark.line)
        if remark.hint:
            line("hint", remark.hint)
        command = None if sys.stderr.isatty() else annotation(remark, os.environ)
        if command is not None:
            say(command)


def annotation(remark: Remark, environ: Mapping[str, str]) -> str | None:
    """Return the command that adds a remark to the CI system's list; None for a system without one."""
    system = ci_system(environ)
    if system is None or system.annotate is None:
        return None
    return system.annotate(
        remark.level, remark.code or "", harmless(remark.line), harmless(remark.hint or "")
    )
