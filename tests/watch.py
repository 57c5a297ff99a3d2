"""What other users of the machine see of a process while it runs: its arguments."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
EVERY_SECONDS = 0.002


class Watch(threading.Thread):
    """
    Reads the arguments of a process and of its children, again and again, until it is told to stop.

    Children are looked at only while the process is astro-token itself:
    what a command that took its place starts in its turn is that command's business.
    Where there is no /proc, nothing is seen.
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.seen: set[str] = set()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            self.look()
            self._over.wait(EVERY_SECONDS)

    def look(self) -> None:
        own = _arguments(self.process)
        self.seen.add(own)
        if "astro-token" in own:
            self.seen.update(_arguments(child) for child in _children(self.process))

    def stop(self) -> str:
        self._over.set()
        self.join()
        return "\n".join(sorted(self.seen))


def _arguments(process: int) -> str:
    with suppress(OSError):
        return (PROC / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode("latin-1")
    return ""


def _children(process: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in (PROC / f"{process}/task/{process}/children").read_text().split()]
    return []
