"""The logger of this project, and the silencing of SDK loggers."""

from __future__ import annotations

import logging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["logger", "silence"]

logger = logging.getLogger("astro_token")
logger.addHandler(logging.NullHandler())


def silence(names: Iterable[str]) -> None:
    """
    Keep the records of SDK loggers and their children from every handler, the root logger's included.

    At DEBUG botocore logs a value seven times in one read and write, and session tokens too;
    at WARNING azure.identity prints the response to a rejected assertion.
    Backends call this whenever they are opened, because a program can change levels at any time.
    """
    for name in names:
        sdk = logging.getLogger(name)
        sdk.setLevel(logging.CRITICAL + 1)
        sdk.propagate = False
        for child in list(logging.Logger.manager.loggerDict):
            if child.startswith(f"{name}."):
                logging.getLogger(child).setLevel(logging.NOTSET)
