"""What other users of the machine see of a process while it runs: its arguments."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

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
        self._is_over = False

    def run(self) -> None:
        # The two files stay open: to open them for each look would cost the machine more than the looks do.
        arguments = _File(f"/proc/{self.process}/cmdline")
        children = _File(f"/proc/{self.process}/task/{self.process}/children")
        before = b""
        while not self._is_over:
            own = arguments.read()
            if own != before:
                self.seen.add(_text(own))
                before = own
            if b"astro-token" in own:
                for child in children.read().split():
                    of_child = _File(f"/proc/{int(child)}/cmdline")
                    self.seen.add(_text(of_child.read()))
                    of_child.close()
            time.sleep(EVERY_SECONDS)
        arguments.close()
        children.close()

    def stop(self) -> str:
        self._is_over = True
        self.join()
        return "\n".join(sorted(self.seen))


class _File:
    """A file of /proc that is read from its beginning each time; empty if it, or its process, is gone."""

    def __init__(self, path: str) -> None:
        self._number: int | None = None
        with suppress(OSError):
            self._number = os.open(path, os.O_RDONLY)

    def read(self) -> bytes:
        content = b""
        if self._number is not None:
            with suppress(OSError):
                while part := os.pread(self._number, 1 << 16, len(content)):
                    content += part
        return content

    def close(self) -> None:
        if self._number is not None:
            os.close(self._number)


def _text(arguments: bytes) -> str:
    return arguments.replace(b"\0", b" ").decode("latin-1")
