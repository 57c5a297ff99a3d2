"""The faults that `check` reports on standard error, all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.policy.rules import Verdict
    from astro_token.tokens.read_many import TokenReport

__all__ = ["Remark", "of_token", "of_verdicts"]


class Remark(Record):
    """
    Attributes:
        about: a token, or the deploy; "" if the message names it.
        code: of the verdict; None for an error that is not a verdict.
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
    """Return the remarks about a token. Warnings come first, so that errors stand last on the terminal."""
    about = _about(report)
    remarks = sorted(of_verdicts(report.verdicts, about), key=lambda remark: remark.level == "error")
    # A verdict may be the report's error, and is listed already; a failed request to Astro is not.
    error = report.online.error if report.online else None
    if error is None and not any(remark.level == "error" for remark in remarks):
        error = report.error
    if error is None:
        return remarks
    message = error.message
    if report.settings:
        ref = str(report.settings.ref)
        message = message.removeprefix(f"{ref}: ")
        if ref in message:  # the message names it already
            about = report.settings.name or ""
    return [*remarks, Remark("error", about, None, message, error.hint)]


def _about(report: TokenReport) -> str:
    if report.settings is None:
        return ""
    name, ref = report.settings.name, str(report.settings.ref)
    return f"{name} ({ref})" if name else ref
