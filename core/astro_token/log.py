"""The logger of this project, and the silencing of SDK loggers."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

__all__ = ["LEVELS", "logger", "silence"]

LEVELS = ("debug", "info", "warning", "error")


class _Logger:
    """
    Log to `astro_token` of the standard logging, if the program uses that.

    Importing it costs a tenth of a short command, so the command line shows messages without it.
    """

    def __init__(self) -> None:
        self._show: Callable[[str, str], object] | None = None
        self._lowest = 0

    def show_with(self, show: Callable[[str, str], object], level: str) -> None:
        """Show messages of a level and above, by a function that takes the level and the text."""
        self._show, self._lowest = show, LEVELS.index(level)

    def debug(self, message: str, *values: object) -> None:
        self._log("debug", message, values)

    def info(self, message: str, *values: object) -> None:
        self._log("info", message, values)

    def warning(self, message: str, *values: object) -> None:
        self._log("warning", message, values)

    def _log(self, level: str, message: str, values: tuple[object, ...]) -> None:
        if self._show is not None and LEVELS.index(level) >= self._lowest:
            self._show(level, message % values if values else message)
        if "logging" in sys.modules:
            import logging

            ours = logging.getLogger("astro_token")
            if not ours.handlers:
                ours.addHandler(logging.NullHandler())
            ours.log(getattr(logging, level.upper()), message, *values, stacklevel=3)


logger = _Logger()


def silence(names: Iterable[str]) -> None:
    """
    Keep the records of SDK loggers and their children from every handler, the root logger's included.

    At DEBUG botocore logs a value seven times in one read and write, and session tokens too;
    at WARNING azure.identity prints the response to a rejected assertion.
    Backends call this whenever they are opened, because a program can change levels at any time.
    """
    if not names:
        return
    import logging

    for name in names:
        sdk = logging.getLogger(name)
        _set_level(sdk, logging.CRITICAL + 1)
        sdk.propagate = False
        for child in list(logging.Logger.manager.loggerDict):
            if child.startswith(f"{name}."):
                _set_level(logging.getLogger(child), logging.NOTSET)


def _set_level(sdk: logging.Logger, level: int) -> None:
    if sdk.level != level:  # setting it visits every logger of the process
        sdk.setLevel(level)
