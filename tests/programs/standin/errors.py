"""How a run ends."""

from __future__ import annotations

NIL = "invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation]"


class CommandError(Exception):
    """
    Status 1: what Go returns as an error; `usage` where the real one adds how it is used.

    Attributes:
        answered: the status of the API's response that it comes from.
        kind: the name under which 2.0 publishes it.
    """

    def __init__(
        self, message: str, *, usage: bool = False, answered: int | None = None, kind: str = ""
    ) -> None:
        super().__init__(message)
        self.usage = usage
        self.answered = answered
        self.kind = kind


class PanicError(Exception):
    """Status 2: what makes the Go program crash."""


class UnsupportedError(Exception):
    """Status 3, which the real one does not use: what is not done here."""
