"""Another's program, run in a bounded time, in a session of its own, and without its standard error."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["kill", "on_path", "output_of", "start", "within"]

_PAUSE = 100  # milliseconds


def on_path(name: str, environ: Mapping[str, str]) -> str | None:
    """The program's path; of the folders of PATH only absolute ones count."""
    from shutil import which

    folders = filter(os.path.isabs, environ.get("PATH", "").split(os.pathsep))
    return which(name, path=os.pathsep.join(folders))


def start(
    argv: Sequence[str], environ: Mapping[str, str], *, fed: bool = False, folder: Path | None = None
) -> subprocess.Popen[bytes] | None:
    """
    Starts a program with this environment and nothing else; None where it cannot be started.

    Args:
        fed: its standard input is ours to write; otherwise it has none.
    """
    import subprocess

    with suppress(OSError):
        return subprocess.Popen(
            argv,
            env=dict(environ),
            cwd=folder,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None


@contextmanager
def within(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Waits for its end. When the time is over it is killed, and the event set; an exception kills it too."""
    late = threading.Event()

    def end() -> None:
        late.set()
        kill(process)

    timer = threading.Timer(max(0.0, seconds), end)
    timer.start()
    try:
        with process:
            try:
                yield late
            except BaseException:  # a signal to us, which must not wait for the program's end
                kill(process)
                raise
    finally:
        timer.cancel()


def output_of(
    process: subprocess.Popen[bytes], late: threading.Event, most: int, *, drained: bool = False
) -> bytes:
    """
    What it prints until its end, and one byte more than `most` at the most.

    What it started can outlive it, with its output open: that is ended too, as far as it can be found,
    and is not waited for.

    Args:
        late: of `within`.
        drained: what is beyond that is read as well, and dropped, so that the program comes to its end.
    """
    output = bytearray()
    if process.stdout is None:
        return b""
    if os.name != "posix":  # where only sockets can be waited for
        output += process.stdout.read(most + 1)
        while drained and process.stdout.read(most + 1):
            pass
        return bytes(output)
    import select

    pipe = process.stdout.fileno()
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    while not late.is_set() and (drained or len(output) <= most):
        ended = process.poll() is not None
        if waiting.poll(0 if ended else _PAUSE):
            piece = os.read(pipe, 65536)
            output += piece[: most + 1 - len(output)]
            if not piece:
                break
        elif ended:
            kill(process)  # what it left behind
            break
    return bytes(output)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and whatever it started, which could hold its output open."""
    import signal

    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
