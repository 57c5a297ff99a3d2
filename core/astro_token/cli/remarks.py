"""All that `check` finds fault with, on standard error: one finding hides no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.policy.rules import Verdict
    from astro_token.tokens.read_many import Finding

__all__ = ["Remark", "of_token", "of_verdicts"]


@dataclass(frozen=True, slots=True)
class Remark:
    """
    Attributes:
        about: a token, or the deploy; "" where the message says it.
        code: the verdict's; None for what is no verdict.
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
    return [Remark(one.level, about, one.code, one.message, one.hint) for one in verdicts]


def of_token(finding: Finding) -> list[Remark]:
    """Warnings first, so that what matters most stands last."""
    about = _about(finding)
    verdicts = sorted(of_verdicts(finding.verdicts, about), key=lambda one: one.level == "error")
    # A verdict that is an error is there already; what kept us from looking is not.
    other = finding.online.error if finding.online else None
    if other is None and not any(one.level == "error" for one in verdicts):
        other = finding.error
    if other is None:
        return verdicts
    message = other.message
    if finding.settings:
        ref = str(finding.settings.ref)
        message = message.removeprefix(f"{ref}: ")
        if ref in message:  # said already, and better
            about = finding.settings.name or ""
    return [*verdicts, Remark("error", about, None, message, other.hint)]


def _about(finding: Finding) -> str:
    if finding.settings is None:
        return ""
    name, ref = finding.settings.name, str(finding.settings.ref)
    return f"{name} ({ref})" if name else ref
