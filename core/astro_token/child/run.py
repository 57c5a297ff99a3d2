"""
Run the command as if the user had typed it: with its signals, its terminal and its exit status.

The child is in our process group, so a terminal's keys and job control reach it directly.
Signals that reach only us are forwarded.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from astro_token.child.hardening import harden_process
from astro_token.errors import CommandError, ConfigError
from astro_token.system.programs import PROGRAM_FOLDERS, in_checkout, search_path
from astro_token.system.terminal import is_in_foreground

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from astro_token.child.hardening import SavedLimits
    from astro_token.masker.outputs import Outputs

__all__ = ["find_command", "replace_process", "run"]

NOT_FOUND = 127
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# A terminal sends these to the whole group; the child would get them twice.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_ENDING = (signal.SIGTERM, signal.SIGHUP, *_FROM_TERMINAL)
# Python ignores these from its start; a child expects the system's default.
_IGNORED_BY_PYTHON = tuple(
    getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)
)


def find_command(name: str, environ: Mapping[str, str]) -> str:
    """
    Find the program in the child's PATH. Relative folders are skipped.

    An `astro` in the checkout is refused unless the command names it by a path, because it gets the token.

    Raises:
        CommandError: there is none (127), or it cannot be run (126).
        ConfigError: it is an `astro` in the checkout.
    """
    if "/" in name:
        path = name if os.path.isfile(name) and os.access(name, os.X_OK) else None  # noqa: PTH113
        other = name if os.path.exists(name) else None  # noqa: PTH110
    else:
        search = search_path(name, environ)
        path, other = search.path, search.not_executable
        if path and name == "astro" and in_checkout(path, environ):
            raise ConfigError(
                f"the astro on PATH lies in the checkout: {path}",
                hint=f"list its folder in {PROGRAM_FOLDERS} if you trust it, or name it by its path; "
                "`astro-token install-cli` installs one outside the checkout",
            )
    if path:
        return path
    from astro_token.child.refusal import cannot_run, printable

    if other:
        raise cannot_run(name, Path(other))
    raise CommandError(
        f"{printable(name)}: command not found",
        exit_code=NOT_FOUND,
        hint="install it with `astro-token install-cli`, or correct PATH"
        if name == "astro"
        else "install it, or correct PATH; the command follows --",
    )


def replace_process(
    path: str, command: Sequence[str], environ: Mapping[str, str], limits: SavedLimits
) -> NoReturn:
    """
    Replace this process by the command.

    Raises:
        CommandError: it cannot be run (126).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in _IGNORED_BY_PYTHON}
    # Our own handlers end with this program; an ignored signal would stay ignored.
    limits.restore()
    try:
        os.execve(path, list(command), dict(environ))
    except OSError as error:
        for number, handler in previous.items():
            signal.signal(number, handler)
        from astro_token.child.refusal import cannot_run

        refusal = cannot_run(command[0], Path(path), error)
    raise refusal


def run(
    path: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    limits: SavedLimits,
    *,
    started: Callable[[int], None],
    outputs: Outputs | None = None,
) -> int:
    """
    Run the command and return its exit status, or 128 + n if signal n ended it.

    Args:
        limits: restored for the child.
        started: called with the child's process number.
        outputs: mask the child's output on its way to ours.

    Raises:
        CommandError: it cannot be run (126).
        OSError: its output could not be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    relay = _Relay()
    # From here on no signal ends us before the child ends and our temporary files are removed.
    ignored = relay.install()
    if relay.waiting:  # a signal that arrives before the child starts is meant for us
        return 128 + relay.waiting[0]
    if outputs:
        outputs.start()
    try:
        limits.restore()
        child = os.posix_spawn(
            path,
            list(command),
            dict(environ),
            file_actions=outputs.file_actions if outputs else (),
            setsigdef=[number for number in (*_IGNORED_BY_PYTHON, *relay.handled) if number not in ignored],
        )
    except OSError as error:
        from astro_token.child.refusal import cannot_run

        child, refusal = 0, cannot_run(command[0], Path(path), error)
    finally:
        harden_process()  # again: the limits were restored for the child only
    if not child:
        raise refusal
    started(child)
    relay.forward_to(child)
    try:
        if outputs:
            outputs.started()
        code = _wait(child)
    finally:
        relay.stop()
    if outputs and not outputs.end(lambda: bool(relay.ending)):
        return code or 128 + relay.ending
    return code


def _wait(child: int) -> int:
    """Wait for the child; as process 1 of a container also reap orphaned processes."""
    while True:
        try:
            process, status = os.waitpid(-1, 0)
        except ChildProcessError:  # other code waited for it, and its status is lost
            return 70
        if process == child and not os.WIFSTOPPED(status):
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


class _Relay:
    """
    Forward signals to the child.

    Attributes:
        ending: the last signal that requests an end; 0 before.
    """

    def __init__(self) -> None:
        self.handled = (*_FORWARDED, *_FROM_TERMINAL)
        self.waiting: list[int] = []
        self.ending = 0
        self._child: int | None = None

    def install(self) -> set[signal.Signals]:
        """Handle the signals; return those that we were started to ignore, which the child ignores too."""
        ignored = {number for number in self.handled if signal.getsignal(number) == signal.SIG_IGN}
        for number in self.handled:
            if number not in ignored:
                signal.signal(number, self._handle)
        return ignored

    def forward_to(self, child: int) -> None:
        self._child = child
        while self.waiting:
            _send(self.waiting.pop(0), child)

    def stop(self) -> None:
        """Send no more signals: another process may get the child's number."""
        self._child = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self.ending = number
        if self._child is None:
            self.waiting.append(number)
        else:
            _send(number, self._child)


def _send(number: int, child: int) -> None:
    if number in _FROM_TERMINAL and is_in_foreground():
        return
    with suppress(ProcessLookupError, PermissionError):
        os.kill(child, number)
