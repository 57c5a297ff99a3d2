"""A bounded run of a program that `programs` allows."""

from __future__ import annotations

import os
import time

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class Program(Protocol):
        """
        A program that was started.

        Attributes:
            code: its exit status, negative for a signal; None before its end, or if the system has lost it.
        """

        @property
        def code(self) -> int | None: ...

        def exchange(self, until: float, limit: int, data: bytes | None) -> tuple[bytes, bool]:
            """
            Write the data, read the output, and wait for the end.

            A program with data may print before it has read all of it: its output is read to the end.

            Returns:
                the output, of which at most one byte exceeds the limit, and whether the time was over.
            """

        def kill(self) -> None:
            """Kill it, and what it started. It may have ended."""

        def close(self) -> None:
            """Release what the system holds for it, after `kill`."""


__all__ = ["Completed", "end_running", "run_program"]

_running: set[Program] = set()


def end_running() -> None:
    """Kill the programs that run when this process ends, for example because a signal ended it."""
    for program in tuple(_running):
        program.kill()


class Completed(Record):
    """
    Attributes:
        code: the exit status; None if the program was killed, or if the system has lost the status.
        output: at most as much as was allowed.
        late: it was killed because the time was over.
        too_long: it was killed because of its output's length.
    """

    code: int | None
    output: bytes
    late: bool = False
    too_long: bool = False

    _hidden = ("output",)


def run_program(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    seconds: float,
    limit: int,
    folder: str | os.PathLike[str] | None = None,
    data: bytes | None = None,
) -> Completed | None:
    """
    Run a program to its end, with its standard error dropped, and kill whatever it started.

    Args:
        argv: begins with a path from `find_program`.
        environ: all that the program gets; its PATH comes from `trusted_path`.
        limit: bytes of output. A program with more is killed, unless it was given data:
            then the rest is read and dropped.
        data: for standard input, which is empty otherwise.

    Returns:
        None if the program cannot be started.
    """
    until = time.monotonic() + seconds
    try:
        program = _start(argv, environ, folder, has_input=data is not None)
    except OSError:
        return None
    _running.add(program)
    try:
        output, late = program.exchange(until, limit, data)
    finally:  # a signal to us, too, must not wait for the program's end
        try:
            program.kill()  # or what it left behind, which may have closed the output
            program.close()
        finally:
            _running.discard(program)
    too_long = len(output) > limit and data is None
    return Completed(None if late or too_long else program.code, output[:limit], late, too_long)


def _start(
    argv: Sequence[str],
    environ: Mapping[str, str],
    folder: str | os.PathLike[str] | None,
    *,
    has_input: bool,
) -> Program:
    if os.name == "posix":
        from astro_token.system.posix_program import PosixProgram

        return PosixProgram(argv, environ, folder, has_input=has_input)
    from astro_token.system.other_program import OtherProgram

    return OtherProgram(argv, environ, folder, has_input=has_input)
