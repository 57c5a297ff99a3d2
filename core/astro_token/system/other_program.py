"""A program on a system without POSIX: there pipes cannot be polled, and a program has no group to kill."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["OtherProgram"]


class OtherProgram:
    """
    Attributes:
        code: its exit status; None before its end.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        folder: str | os.PathLike[str] | None,
        *,
        has_input: bool,
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            env=environ,
            cwd=folder,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def exchange(self, until: float, limit: int, data: bytes | None) -> tuple[bytes, bool]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(max(0.0, until - time.monotonic()), end)
        timer.start()
        try:
            output = self._exchange(limit, data)
            if data is not None or len(output) <= limit:
                self._process.wait()
        finally:
            timer.cancel()
        return output, late.is_set()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        with self._process:
            pass

    def _exchange(self, limit: int, data: bytes | None) -> bytes:
        if self._process.stdout is None:
            return b""
        threading.Thread(target=self._write, args=(data,), daemon=True).start()
        output = self._process.stdout.read(limit + 1)
        while data is not None and self._process.stdout.read(limit + 1):
            pass
        return output

    def _write(self, data: bytes | None) -> None:
        if self._process.stdin is not None and data is not None:
            with suppress(OSError):
                self._process.stdin.write(data)
                self._process.stdin.close()
