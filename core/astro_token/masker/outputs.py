"""
Copy a child's standard output and error to ours, masked.

A terminal remains a terminal to the child; everything else, also a file, is a pipe.
Each output has a thread, so that a slow reader of one does not delay the other,
and no thread reads more before its output is written.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, NoReturn

from astro_token.masker.filter import Filter
from astro_token.masker.output import PAUSE, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Outputs"]

_STREAMS = (1, 2)
_PATIENCE = 1.0  # seconds


class Outputs:
    """
    Args:
        forms: to be masked.

    Attributes:
        of_child: file actions for `posix_spawn` that give the child its ends.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._stop, self._stopper = os.pipe()
        self._threads: list[Thread] = []
        self.of_child: list[tuple[int, int, int]] = []
        forms = tuple(forms)
        outputs: dict[tuple[int, int, int], Output] = {}
        for number in _STREAMS:
            if not os.get_inheritable(number):  # it was closed at our start, and is for the child
                continue
            status = os.fstat(number)
            target = (status.st_dev, status.st_ino, status.st_rdev)
            if target not in outputs:  # shared by both if they go to the same file, which keeps their order
                outputs[target] = Output(number, Filter(forms))
            self.of_child.append((os.POSIX_SPAWN_DUP2, outputs[target].childs, number))
        self._outputs = list(outputs.values())

    def start(self) -> None:
        """Start copying. Call it when the child has its ends."""
        for output in self._outputs:
            os.close(output.childs)
        if any(output.terminal for output in self._outputs):
            signal.signal(signal.SIGWINCH, lambda *_: self._follow())
            self._follow()  # its size may have changed before
        # Signals must reach the main thread, to interrupt its wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._threads = _copying(self._outputs, self._stop)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def end(self, interrupted: Callable[[], bool]) -> bool:
        """
        Wait until the output of the ended child is written.

        Other processes that still have an output open, such as a daemon, keep it, and it stays masked.

        Args:
            interrupted: tells whether we were told to end; then a reader that is stuck is not waited for.

        Returns:
            False if the output is incomplete for that reason.

        Raises:
            OSError: the output could not be written, and not because its reader went away.
        """
        os.close(self._stopper)
        for thread, output in zip(self._threads, self._outputs, strict=True):
            before = -1
            while thread.is_alive():
                if interrupted() and before == output.written:
                    return False
                before = output.written
                thread.join(_PATIENCE if interrupted() else PAUSE / 1000)
        for output in self._outputs:
            if output.error is not None:
                raise output.error
        left = [output for output in self._outputs if not output.ended]
        # If our end were closed, a daemon's next line would end it.
        with suppress(OSError):
            if left and os.fork() == 0:
                _stay(left)
        return True

    def _follow(self) -> None:
        for output in self._outputs:
            if output.terminal is not None:
                output.terminal.follow()


def _copying(outputs: Iterable[Output], stop: int) -> list[Thread]:
    threads = [Thread(target=output.copy, args=(stop,), daemon=True) for output in outputs]
    for thread in threads:
        thread.start()
    return threads


def _stay(left: list[Output]) -> NoReturn:
    """
    Continue while a process has an output open; hold nothing else, and print nothing.

    By now signals are only noted, like those that a daemon is spared.
    """
    try:
        null = os.open(os.devnull, os.O_RDWR)
        targets = {output.target for output in left}
        for number in {0, 1, 2} - targets:
            os.dup2(null, number)
        stop, stopper = os.pipe()
        before = 2
        for kept in sorted({null, stop, stopper, *(output.source for output in left)}):
            os.closerange(before + 1, kept)
            before = kept
        os.closerange(before + 1, os.sysconf("SC_OPEN_MAX"))
        for thread, output in zip(_copying(left, stop), left, strict=True):
            thread.join()
            os.dup2(null, output.target)
    finally:
        os._exit(0)
