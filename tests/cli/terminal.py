"""A terminal with a program at it, as a person has one."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.timing import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Makes its standard input the terminal of its session, which it leads.
_TAKE = """
import fcntl, os, sys, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """
    Args:
        command: is at the terminal with all its streams, and leads the session.
        size: rows and columns.

    Attributes:
        shown: all that was printed so far.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, size: tuple[int, int] = (24, 80)
    ) -> None:
        self.shown = ""
        self._seen = 0
        self._keys, screen = os.openpty()
        termios.tcsetwinsize(self._keys, size)
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", _TAKE, *command],
            env=env,
            cwd=cwd,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
        )
        self._screen = screen

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def wait_for(self, text: str) -> str:
        """Reads until the text is shown, after the last one that was waited for; returns what is between."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown[self._seen :]:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} was not shown, but {self.shown[self._seen :]!r}")
            self._read(0.05)
        at = self.shown.index(text, self._seen)
        before = self.shown[self._seen : at]
        self._seen = at + len(text)
        return before

    def read_for(self, seconds: float) -> str:
        """Reads for some time; returns what is shown after the last text that was waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.05)
        return self.shown[self._seen :]

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._screen)[3] & termios.ECHO)

    def finish(self) -> int:
        """The exit status; all that was printed is in `shown` then."""
        code = self.process.wait(PATIENCE)
        while self._read(0.05):
            pass
        return code

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self._keys], [], [], patience)
        if not ready:
            return False
        data = os.read(self._keys, 65536)
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        os.close(self._keys)
        os.close(self._screen)
