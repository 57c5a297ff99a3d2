"""
Copy a child's standard output and error to ours, masked.

A terminal remains a terminal to the child; everything else, also a file, is a pipe.
Each output has a thread, so that a slow reader of one does not delay the other,
and no thread reads more before its output is written.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll
from threading import Thread
from typing import TYPE_CHECKING, NoReturn

from astro_token.masker.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from astro_token.masker.terminal import PseudoTerminal

__all__ = ["PAUSE", "Output", "Outputs"]

_STREAMS = (1, 2)
_PATIENCE = 1.0  # seconds
PAUSE = 40  # milliseconds; less than the documented 50, together with the system's delay
_BLOCK = 64 * 1024
# The most that an ended child can leave in a pipe or a pseudo-terminal.
_MAX_REST = 1024 * 1024


class Outputs:
    """
    Args:
        token: to be masked; None masks nothing.

    Attributes:
        file_actions: for `posix_spawn`: they give the child its ends.
    """

    def __init__(self, token: bytes | None) -> None:
        self._stop, self._stopper = os.pipe()
        self._threads: list[Thread] = []
        self.file_actions: list[tuple[int, int, int]] = []
        outputs: dict[tuple[int, int, int], Output] = {}
        for number in _STREAMS:
            if not os.get_inheritable(number):  # it was closed at our start, and is for the child
                continue
            status = os.fstat(number)
            target = (status.st_dev, status.st_ino, status.st_rdev)
            if target not in outputs:  # shared by both if they go to the same file, which keeps their order
                outputs[target] = Output(number, Filter(token, at_once=os.isatty(number)))
            self.file_actions.append((os.POSIX_SPAWN_DUP2, outputs[target].child_end, number))
        self._outputs = list(outputs.values())

    def start(self) -> None:
        """Start copying. Call it before the child starts, because it fails if no thread can be started."""
        if any(output.terminal for output in self._outputs):
            signal.signal(signal.SIGWINCH, lambda *_: self._follow())
            self._follow()  # its size may have changed before
        # Signals must reach the main thread, to interrupt its wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._threads = _copying(self._outputs, self._stop)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def started(self) -> None:
        """Leave the child's ends to the child, so that copying ends with it."""
        for output in self._outputs:
            os.close(output.child_end)

    def end(self, interrupted: Callable[[], bool]) -> bool:
        """
        Wait until the output of the ended child is written.

        Other processes that still have an output open, such as a daemon, keep it, and it stays masked.

        Args:
            interrupted: returns True after a signal that ends us; then a stuck reader is not waited for.

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
        unfinished = [output for output in self._outputs if not output.ended]
        # If our end were closed, a daemon's next line would end it.
        with suppress(OSError):
            if unfinished and os.fork() == 0:
                _copy_for_daemons(unfinished)
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


def _copy_for_daemons(unfinished: list[Output]) -> NoReturn:
    """
    Continue to copy while a process has an output open, and keep nothing else open.

    The handlers of signals only record them by now, so that no signal ends this before the daemon.
    """
    try:
        null = os.open(os.devnull, os.O_RDWR)
        targets = {output.target for output in unfinished}
        for number in {0, 1, 2} - targets:
            os.dup2(null, number)
        stop, stopper = os.pipe()
        before = 2
        for kept in sorted({null, stop, stopper, *(output.source for output in unfinished)}):
            os.closerange(before + 1, kept)
            before = kept
        os.closerange(before + 1, os.sysconf("SC_OPEN_MAX"))
        for thread, output in zip(_copying(unfinished, stop), unfinished, strict=True):
            thread.join()
            os.dup2(null, output.target)
    finally:
        os._exit(0)


class Output:
    """
    A pipe, or a pseudo-terminal if ours is a terminal.

    Attributes:
        child_end: the end that the child gets.
        terminal: the pseudo-terminal if it is one.
        written: the number of bytes.
        ended: False if a process may still write to it.
        error: the reason for an incomplete copy, unless the reader went away.
    """

    def __init__(self, target: int, filter_: Filter) -> None:
        self.target = target
        self.terminal: PseudoTerminal | None = None
        if os.isatty(target):
            from astro_token.masker.terminal import PseudoTerminal

            self.terminal = PseudoTerminal(target)
            self.source, self.child_end = self.terminal.our_end, self.terminal.child_end
        else:
            self.source, self.child_end = os.pipe()
        self.written = 0
        self.ended = False
        self.error: OSError | None = None
        self._filter = filter_

    def copy(self, stop: int) -> None:
        """
        Copy until the last writer or the reader has closed it.

        Args:
            stop: a pipe; once its other end is closed, only earlier output is copied.
        """
        self.ended = True  # also after an error: nothing must wait for it
        try:
            self.ended = self._copy(stop)
        except OSError as error:
            gone = {errno.EPIPE, errno.ECONNRESET, errno.EIO if self.terminal else errno.EPIPE}
            self.error = None if error.errno in gone else error.with_traceback(None)
        finally:
            if self.ended:  # the next writer gets the same error as if it wrote to ours
                os.close(self.source)

    def _copy(self, stop: int) -> bool:
        events = poll()
        events.register(self.source, POLLIN)
        events.register(stop, POLLIN)
        events.register(self.target, 0)  # its reader may go away during a silence
        left = None
        settled = True
        while left is None or left > 0:
            wait = PAUSE if self._filter.waiting or not settled else None
            ready = dict(events.poll(wait if left is None else 0))
            if ready.get(self.target, 0) & (POLLERR | POLLHUP):
                return True
            if ready.get(self.target, 0) & POLLNVAL:  # devices cannot be polled on some systems
                events.unregister(self.target)
                continue
            if stop in ready:
                events.unregister(stop)
                left = _MAX_REST
            elif self.source in ready:
                data = self._read()
                self._follow()
                self._write(self._filter.feed(data) if data else self._filter.end())
                if not data:
                    return True
                settled = self.terminal is None
                left = left and left - len(data)
            elif left is None:
                self._follow()
                settled = True
                self._write(self._filter.pause())
            else:
                break
        self._follow()
        return False

    def _follow(self) -> None:
        if self.terminal is not None:
            self.terminal.follow()

    def _read(self) -> bytes:
        try:
            return os.read(self.source, _BLOCK)
        except OSError:  # nobody has the pseudo-terminal open
            return b""

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                count = os.write(self.target, rest)
            except BlockingIOError:  # a process that shares it has changed its mode
                events = poll()
                events.register(self.target, POLLOUT)
                events.poll()
            else:
                rest = rest[count:]
                self.written += count
