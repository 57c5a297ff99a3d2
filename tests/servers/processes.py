"""A server program in a process of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Command = Callable[[int], Sequence[str]]
Environment = Callable[[int], Mapping[str, str]]
Ready = Callable[[int], bool]

STARTUP = 90.0  # seconds: it guards against hangs, and a loaded machine with two cores needs some of them
_PORTS_TO_TRY = 4


class ServerStartError(Exception):
    pass


def free_port() -> int:
    """A port on which nothing listens; another program may take it before you do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def run(
    command: Command,
    *,
    env: Environment,
    folder: Path,
    ready: Ready,
    conceal: Sequence[str] = (),
    startup: float = STARTUP,
) -> Iterator[int]:
    """
    Runs a program that listens on a port given to it, and yields that port once it answers.

    Args:
        command: makes the command line for a port.
        env: makes the whole environment for a port; nothing else is inherited.
        folder: where the program runs and its output is kept, in `log`.
        ready: asks once; it has to prove that the answer came from this program
            and not from one that was quicker to take the port. A network's or parser's error means not yet.
        conceal: texts that must not appear in an error message.
        startup: seconds to wait for it.

    Raises:
        ServerStartError: with the end of the program's output.
    """
    deadline = time.monotonic() + startup
    log = folder / "log"
    for _ in range(_PORTS_TO_TRY):
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(port),
                env=dict(env(port)),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            if _started(process, functools.partial(ready, port), deadline):
                yield port
                return
            exited = process.poll()
        finally:
            _stop(process)
        if exited is None:
            break
    tail = log.read_text(errors="replace")[-2000:]
    for text in conceal:
        tail = tail.replace(text, "…")
    raise ServerStartError(f"the server did not start within {startup:.0f} s:\n{tail}")


def _started(process: subprocess.Popen[bytes], ready: Callable[[], bool], deadline: float) -> bool:
    for _ in _pauses(deadline):
        if process.poll() is not None:
            return False
        # Another program may have the port, and answer anything.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            if ready():
                return True
    return False


def _pauses(deadline: float) -> Iterator[None]:
    """Yields now and then until the deadline, often at first."""
    pause = 0.01
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
