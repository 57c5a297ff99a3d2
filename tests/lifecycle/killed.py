"""
Run the program again and again in children, each of which is killed or stopped at a step.

A step is the entry to, or the return from, a call that reaches the system: a connection, a part of a request
or of a response, a lock, a file that is opened, written, synchronised, renamed or removed.

    killed.py ARGUMENT…

Each line on standard input is the number of a step, from 0. Each line on standard output is the status of
the child: `-9` if it was killed, else that of the program, which has no such step.
A line `stop N` stops it there; if there is such a step, `stopped` is the answer, and the next line continues
the child, whose clock is then ahead by more than a lease.
"""

from __future__ import annotations

import _thread
import importlib
import os
import signal
import sys
import time
from typing import Any

CALLS = {
    *(f"socket.{name}" for name in ("connect", "connect_ex", "send", "sendall", "recv", "recv_into")),
    *(f"BufferedWriter.{name}" for name in ("write", "flush", "close")),
    *("open", "write", "fsync", "flock", "lockf", "replace", "rename", "link", "unlink", "fchmod"),
}
PAUSE = 31.0  # seconds
EVENTS = {"c_call", "c_return"}
LOADED = ("astro_token.cli.rotate", "astro_token_backends.vault.kv", "tenacity")


def signal_at(step: int, number: int) -> None:
    """Send a signal to this process at a step, whichever thread gets there."""
    left = step

    def count(_: object, event: str, function: Any) -> None:
        nonlocal left
        if event in EVENTS and function.__qualname__ in CALLS:
            left -= 1
            if left == -1:
                os.kill(os.getpid(), number)
                later = time.time() + PAUSE - time.monotonic()  # after a stop
                time.time = lambda: later + time.monotonic()

    start = _thread.start_new_thread

    def started(function: Any, arguments: tuple[Any, ...], *rest: Any) -> int:
        def profiled(*given: Any, **named: Any) -> None:
            sys.setprofile(count)
            function(*given, **named)

        return start(profiled, arguments, *rest)

    _thread.start_new_thread = started
    sys.setprofile(count)


def run(step: int, number: int) -> int:
    child = os.fork()
    if child == 0:
        from astro_token.cli import main

        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        signal_at(step, number)
        os._exit(main(sys.argv[1:]))
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        print("stopped", flush=True)
        sys.stdin.readline()
        os.kill(child, signal.SIGCONT)
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for module in LOADED:
        importlib.import_module(module)
    while line := sys.stdin.readline():
        command, _, step = line.rpartition(" ")
        print(run(int(step), signal.SIGSTOP if command else signal.SIGKILL), flush=True)
