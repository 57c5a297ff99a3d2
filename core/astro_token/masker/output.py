"""Copy an output of a child to one of ours, masked."""

from __future__ import annotations

import errno
import os
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astro_token.masker.filter import Filter
    from astro_token.masker.terminal import PseudoTerminal

__all__ = ["PAUSE", "Output"]

PAUSE = 40  # milliseconds; less than the documented 50, together with the system's delay
_BLOCK = 64 * 1024
# The most that an ended child can leave in a pipe or a pseudo-terminal.
_MAX_REST = 1024 * 1024


class Output:
    """
    A pipe, or a pseudo-terminal if ours is a terminal.

    Attributes:
        childs: the end that the child gets.
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
            self.source, self.childs = self.terminal.ours, self.terminal.childs
        else:
            self.source, self.childs = os.pipe()
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
