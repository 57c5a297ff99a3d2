"""
A program on POSIX, in a session of its own.

`import subprocess` takes longer than a read of a small secret. So we call the C function with which it starts
programs: that one changes the folder, closes all inherited files, restores the signals, and runs no Python in
the child. `os.posix_spawn` can do only some of this, and `os.fork` is not safe beside threads.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import ExitStack, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    StrPath = str | os.PathLike[str]

__all__ = ["PosixProgram"]

_STREAMS = (0, 1, 2)  # the program gives these numbers to its own files
_SHORTEST, _LONGEST = 1, 100  # milliseconds between two looks at a program that prints nothing
_PIECE = 65536
_PIPE = 1 << 20  # bytes, the most that a pipe holds unless root changes that
_KILLED_WITHIN = 5.0  # seconds; we may not be allowed to kill a program of another user


class PosixProgram:
    """
    Attributes:
        code: its exit status, negative for a signal; None before its end, or if the system has lost it.
    """

    def __init__(
        self, argv: Sequence[str], environ: Mapping[str, str], folder: StrPath | None, *, has_input: bool
    ) -> None:
        self.code: int | None = None
        self._ended = False
        self._input = -1
        with ExitStack() as own, ExitStack() as others:  # our files, and those of the program
            source = nothing = _kept(others, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            if has_input:
                source, self._input = map(_kept, (others, own), os.pipe())
            self._output, target = map(_kept, (own, others), os.pipe())
            files = (source, self._input, self._output, target, -1, nothing)
            self._number = _start(argv, environ, folder, files)
            own.pop_all()

    def exchange(self, until: float, limit: int, data: bytes | None) -> tuple[bytes, bool]:
        """A program's own children can outlive it and keep its output open: they are not waited for."""
        output = bytearray()
        unwritten = memoryview(data or b"")
        waiting = select.poll()
        waiting.register(self._output, select.POLLIN)
        if self._input >= 0:
            os.set_blocking(self._input, False)
            waiting.register(self._input, select.POLLOUT)
        is_open, pause, rest = True, _LONGEST, _PIPE
        while data is not None or len(output) <= limit:
            ended = self._has_ended()
            if ended and not is_open:
                break
            left = until - time.monotonic()
            if left <= 0:
                # It may have ended in time while this process was stopped. What it printed is in the pipe.
                rest -= _PIECE
                if not ended or rest < 0:
                    return bytes(output), not ended
            ready = {number for number, _ in waiting.poll(0 if ended else min(pause, left * 1000))}
            pause = min(2 * pause, _LONGEST)
            if self._input in ready:
                try:
                    unwritten = unwritten[os.write(self._input, unwritten[:_PIECE]) :]
                except BrokenPipeError:  # it does not read all of it
                    unwritten = unwritten[:0]
                if not unwritten:
                    waiting.unregister(self._input)
                    self._close_input()
            if self._output in ready:
                piece = os.read(self._output, _PIECE)
                output += piece[: limit + 1 - len(output)]
                if not piece:
                    waiting.unregister(self._output)
                    is_open, pause = False, _SHORTEST  # usually it ends now
            elif ended and not ready:
                break
        return bytes(output), False

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._number, signal.SIGKILL)

    def close(self) -> None:
        self._close_input()
        os.close(self._output)
        until = time.monotonic() + _KILLED_WITHIN
        while not self._has_ended() and time.monotonic() < until:
            time.sleep(_SHORTEST / 1000)

    def _close_input(self) -> None:
        if self._input >= 0:
            number, self._input = self._input, -1
            os.close(number)

    def _has_ended(self) -> bool:
        if not self._ended:
            try:
                number, status = os.waitpid(self._number, os.WNOHANG)
            except ChildProcessError:  # SIGCHLD is ignored, or other code waited for it
                self._ended = True
            else:
                self._ended = number != 0
                self.code = os.waitstatus_to_exitcode(status) if number else None
        return self._ended


def _kept(files: ExitStack, number: int) -> int:
    files.callback(os.close, number)
    return number


def _start(
    argv: Sequence[str], environ: Mapping[str, str], folder: StrPath | None, files: tuple[int, ...]
) -> int:
    """
    Start the program and return its process number.

    Args:
        files: the two ends of its standard input, its output and its errors: -1 if there is none of ours.

    Raises:
        OSError: it cannot be started.
    """
    with ExitStack() as readers:
        with ExitStack() as writers:
            reader, writer = map(_kept, (readers, writers), os.pipe())
            while writer in _STREAMS:
                writer = _kept(writers, os.dup(writer))
            try:
                number = _fork_exec(argv, environ, folder, (*files, reader, writer))
            except (ImportError, TypeError):  # a Python whose function differs
                return _popen(argv, environ, folder, files)
        failed = os.read(reader, 1)  # nothing if the system runs the program
    if failed:
        with suppress(ChildProcessError):
            os.waitpid(number, 0)
        raise OSError("the system does not run the program")
    return number


def _fork_exec(
    argv: Sequence[str], environ: Mapping[str, str], folder: StrPath | None, files: tuple[int, ...]
) -> int:
    import _posixsubprocess  # private; its one function has changed with Python 3.11 and 3.14

    path = os.fsencode(argv[0])
    if any("=" in name for name in environ):
        raise ValueError("a name of a variable contains =")
    variables = [os.fsencode(name) + b"=" + os.fsencode(text) for name, text in environ.items()]
    sys.audit("subprocess.Popen", argv[0], list(argv), folder, dict(environ))
    fork_exec: Any = _posixsubprocess.fork_exec  # the stubs require values where it takes None
    started: int = fork_exec(
        *(list(argv), (path,), True, (files[-1],), folder, variables),  # True: close all other files
        *files,
        *(True, True),  # restore the signals; call setsid
        *(-1, None, None, None, -1),  # keep the group, the user and its groups, and the umask
        None,
        *(() if sys.version_info >= (3, 14) else (True,)),  # vfork
    )
    return started


def _popen(
    argv: Sequence[str], environ: Mapping[str, str], folder: StrPath | None, files: tuple[int, ...]
) -> int:
    import subprocess

    source, _, _, target, _, nothing = files
    process = subprocess.Popen(
        argv, env=environ, cwd=folder, stdin=source, stdout=target, stderr=nothing, start_new_session=True
    )
    process.returncode = 0  # so that Popen does not wait for it: we do
    return process.pid
