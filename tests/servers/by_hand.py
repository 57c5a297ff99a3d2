"""Runs a server for use by hand: prints what to export, and waits for Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping


def serve(what: str, exports: Mapping[str, str], *notes: str) -> None:
    """
    Prints lines for a shell and returns after Ctrl-C or SIGTERM.

    The credentials among them are made up at each start and open nothing but this server.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        for line in (what, *notes, "Ctrl-C ends it"):
            print(f"# {line}")
        for name, value in exports.items():
            print(f"export {name}={shlex.quote(value)}")
        print(end="", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
