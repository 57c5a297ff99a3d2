"""The report of a diagnosis: each check with its state, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from astro_token.errors import AstroTokenError, InputOutputError, sanitized, worst
from astro_token.record import Record
from astro_token.system.os_errors import reason, remedy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHECKS", "SERVICE_CHECKS", "STATES", "Check", "Report", "State"]

_T = TypeVar("_T")

State = Literal["ok", "none", "warning", "failed", "not reached"]
STATES: tuple[State, ...] = get_args(State)

SERVICE_CHECKS = ("backend", "sdk", "credential", "network", "login")
# All checks, in their order. `chain` exists only for several references, and those of a key only with a key.
CHECKS = (
    *("settings", "variables", "ci", "identity", "chain"),
    *SERVICE_CHECKS,
    *("permission", "secret", "version", "field"),
    *(f"key-{name}" for name in SERVICE_CHECKS),
    *("decryption", "token", "policy", "astro", "api"),
)


class Check(Record):
    """
    Attributes:
        name: an element of `CHECKS`; a check with several findings occurs several times.
        state: `none` means that nothing is present, which need not be wrong.
        detail: the finding; no value, no part of a value, nothing from a service's response.
        exit_code: the status with which a command would end after a failed check.
    """

    name: str
    state: State
    detail: str
    hint: str | None = None
    exit_code: int = 0


class Report:
    """
    Attributes:
        failure: the error of the first failed check.
    """

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.failure: AstroTokenError | None = None

    @property
    def exit_code(self) -> int:
        return worst([check.exit_code for check in self.checks])

    def add(self, name: str, state: State, detail: str, hint: str | None = None) -> None:
        self.checks.append(Check(name, state, detail, hint))

    def fail(self, name: str, error: AstroTokenError) -> None:
        self.failure = self.failure or error
        self.checks.append(Check(name, "failed", error.message, error.hint, error.exit_code))

    def run(self, name: str, call: Callable[[], tuple[_T, str]]) -> _T | None:
        """Run a check that returns its result and a description. Return the result; None if it failed."""
        try:
            outcome, detail = call()
        except AstroTokenError as error:
            self.fail(name, sanitized(error))
            return None
        except OSError as error:  # readers of files translate theirs
            self.fail(name, InputOutputError(reason(error), hint=remedy(error, "fix that, then try again")))
            return None
        self.add(name, "ok", detail)
        return outcome

    def skip(self, *names: str, why: str) -> None:
        for name in names:
            self.add(name, "not reached", f"skipped: {why}")
