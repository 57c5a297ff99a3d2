"""
A child's standard output and error on their way to ours.

A terminal stays a terminal, a pipe a pipe; whatever else it is, a file for one, is a pipe to the child.
There is a thread for each, so that a slow reader of one does not keep the other back,
and none reads on before what it has is written.
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
        forms: what must not go out.

    Attributes:
        of_child: for `posix_spawn`, as which descriptors the child gets its ends.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._stop, self._stopper = os.pipe()
        self._threads: list[Thread] = []
        self.of_child: list[tuple[int, int, int]] = []
        forms = tuple(forms)
        found: dict[tuple[int, int, int], Output] = {}
        for number in _STREAMS:
            if not os.get_inheritable(number):  # we were started without it, and so is the child
                continue
            status = os.fstat(number)
            target = (status.st_dev, status.st_ino, status.st_rdev)
            if target not in found:  # what goes to one place is one, which keeps its order
                found[target] = Output(number, Filter(forms))
            self.of_child.append((os.POSIX_SPAWN_DUP2, found[target].childs, number))
        self._outputs = list(found.values())

    def start(self) -> None:
        """Once the child has its ends."""
        for output in self._outputs:
            os.close(output.childs)
        if any(output.terminal for output in self._outputs):
            signal.signal(signal.SIGWINCH, lambda *_: self._follow())
            self._follow()  # it may have got another size before
        # Signals are the main thread's, whose wait they have to interrupt.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._threads = _copying(self._outputs, self._stop)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def end(self, interrupted: Callable[[], bool]) -> bool:
        """
        Once the child has ended: waits until what it wrote is out.

        Whoever else has an output open still, such as a daemon, keeps it, and it stays masked.

        Args:
            interrupted: whether we were told to end; then nobody who does not read is waited for.

        Returns:
            False if not all was written for that reason.

        Raises:
            OSError: something could not be written, and not because its reader went away.
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
        # Were the other end closed, its next line would end a daemon.
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
    Goes on while somebody has an output open; holds nothing else, and shows nothing of its own.

    Of signals no more than note is taken by now, as of those that a daemon is spared.
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
