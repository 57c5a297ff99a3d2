"""
Runs the command, as if the user had typed it: its signals, its terminal, its exit status.

The child is in our process group, so that a terminal's keys and job control reach it by themselves.
What reaches only us is passed on.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from astro_token.child.hardening import CHANGED_BY_PYTHON, Inherited, close_to_onlookers
from astro_token.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from astro_token.masker.outputs import Outputs

__all__ = ["find_command", "replace_process", "run"]

NOT_EXECUTABLE, NOT_FOUND = 126, 127
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# A terminal sends these to the whole group; the child would get them twice.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_ENDING = (signal.SIGTERM, signal.SIGHUP, *_FROM_TERMINAL)


def find_command(name: str, environ: Mapping[str, str]) -> str:
    """
    The path of the program, looked for on the child's PATH.

    Folders that are no absolute path are passed over: what they mean depends on where a job happens to be.

    Raises:
        CommandError: 127 there is none, 126 there is one that cannot be run.
    """
    if "/" in name:
        candidates = [Path(name)]
    else:
        folders = environ.get("PATH", os.defpath).split(os.pathsep)
        candidates = [Path(folder) / name for folder in folders if os.path.isabs(folder)]  # noqa: PTH117
    refused = False
    for path in candidates:
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except OSError:
            continue
        if regular and os.access(path, os.X_OK):
            return str(path) if "/" not in name else name
        refused = refused or regular or "/" in name  # a folder on PATH is passed over, as shells do
    if refused:
        raise _cannot_run(name)
    raise CommandError(
        f"{_shown(name)}: command not found",
        exit_code=NOT_FOUND,
        hint="`astro-token install-cli` installs it; or correct PATH"
        if name == "astro"
        else "install it, or correct PATH; the command stands after --",
    )


def replace_process(
    path: str, command: Sequence[str], environ: Mapping[str, str], inherited: Inherited
) -> NoReturn:
    """
    Becomes the command.

    Raises:
        CommandError: 126, it cannot be run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in CHANGED_BY_PYTHON}
    # Handlers of ours end with this program; an ignored signal would stay ignored.
    inherited.restore()
    try:
        os.execve(path, list(command), dict(environ))
    except OSError:
        for number, handler in previous.items():
            signal.signal(number, handler)
    raise _cannot_run(command[0])


def run(
    path: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    inherited: Inherited,
    *,
    started: Callable[[int], None],
    outputs: Outputs | None = None,
) -> int:
    """
    Runs the command and returns its exit status, 128 + n where signal n ended it.

    Args:
        started: is told the child's process number.
        outputs: stand between the child's output and ours.

    Raises:
        CommandError: 126, it cannot be run.
        OSError: its output could not be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    relay = _Relay()
    # From here to our end no signal ends us before the child, nor before what is left behind is removed.
    ignored = relay.install()
    if relay.waiting:  # it came before the child was started, and so meant us
        return 128 + relay.waiting[0]
    try:
        inherited.restore()
        child = os.posix_spawn(
            path,
            list(command),
            dict(environ),
            file_actions=outputs.of_child if outputs else (),
            setsigdef=[number for number in (*CHANGED_BY_PYTHON, *relay.handled) if number not in ignored],
        )
    except OSError:
        child = 0
    finally:
        close_to_onlookers()  # the child was started with what we were given; we close up again
    if not child:
        raise _cannot_run(command[0])
    started(child)
    relay.to(child)
    try:
        if outputs:
            outputs.start()
        code = _wait(child)
    finally:
        relay.stop()
    if outputs and not outputs.end(lambda: bool(relay.ending)):
        return code or 128 + relay.ending
    return code


def _wait(child: int) -> int:
    """Waits for the child; as process 1 of a container also for whatever else is left to us."""
    while True:
        try:
            process, status = os.waitpid(-1, 0)
        except ChildProcessError:  # somebody else waited for it: its status is lost
            return 70
        if process == child and not os.WIFSTOPPED(status):
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


class _Relay:
    """
    Passes signals on to the child.

    Attributes:
        ending: the last signal that asked for the end; 0 before.
    """

    def __init__(self) -> None:
        self.handled = (*_PASSED_ON, *_FROM_TERMINAL)
        self.waiting: list[int] = []
        self.ending = 0
        self._child: int | None = None

    def install(self) -> set[signal.Signals]:
        """Takes the signals over; returns those that we were started to ignore, and the child shall too."""
        ignored = {number for number in self.handled if signal.getsignal(number) == signal.SIG_IGN}
        for number in self.handled:
            if number not in ignored:
                signal.signal(number, self._pass_on)
        return ignored

    def to(self, child: int) -> None:
        self._child = child
        while self.waiting:
            self._send(self.waiting.pop(0))

    def stop(self) -> None:
        """Sends nothing more: the child's number may be another process's soon."""
        self._child = None

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self.ending = number
        if self._child is None:
            self.waiting.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        if number in _FROM_TERMINAL and _on_terminal():
            return
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self._child or 0, number)


def _on_terminal() -> bool:
    """True if our process group has the terminal, whose keys then reach the child without us."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _cannot_run(name: str) -> CommandError:
    return CommandError(
        f"{_shown(name)}: cannot be run",
        exit_code=NOT_EXECUTABLE,
        hint="it has to be a program, or a script that starts with #!, and executable for us",
    )


def _shown(name: str) -> str:
    """A command's name for a message: what could forge a line is replaced."""
    return "".join(character if character.isprintable() else "?" for character in name)[:200]
