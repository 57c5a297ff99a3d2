"""
A pseudo-terminal in front of a terminal.

It is not a controlling terminal: keys, signals and job control stay with the real one, which keeps its modes.
So a kill leaves the terminal in order, and a process that the child leaves running gets no hangup.
"""

from __future__ import annotations

import os
import signal
import termios
from contextlib import suppress

__all__ = ["PseudoTerminal"]

_INPUT, _OUTPUT, _CONTROL, _LOCAL = range(4)
_CHARACTERS = 6


class PseudoTerminal:
    """
    Attributes:
        our_end: the side to read from.
        child_end: the side that a child gets.
    """

    def __init__(self, real: int) -> None:
        self._real = real
        self.our_end, self.child_end = os.openpty()
        # Only one of the two may translate a line end to `\r\n`.
        mode = termios.tcgetattr(real)
        mode[_OUTPUT] &= ~termios.OPOST
        termios.tcsetattr(self.child_end, termios.TCSANOW, mode)
        self._mode = termios.tcgetattr(self.child_end)
        self._size = termios.tcgetwinsize(real)
        termios.tcsetwinsize(self.child_end, self._size)

    def follow(self) -> None:
        """Copy the real terminal's size to it, and the modes that a child has set to the real one."""
        with suppress(termios.error, OSError):
            size = termios.tcgetwinsize(self._real)
            if size != self._size:
                self._size = size
                termios.tcsetwinsize(self.our_end, size)
                # The real terminal sent them the signal, and they may have read the size too early.
                os.killpg(os.tcgetpgrp(self._real), signal.SIGWINCH)
        with suppress(termios.error, OSError):
            mode = termios.tcgetattr(self.our_end)
            if mode != self._mode and self._in_foreground():
                self._mode = mode
                self._apply(mode)

    def _apply(self, mode: list[int | list[bytes | int]]) -> None:
        """Apply modes to the real terminal: full-screen programs set them on their output, for its keys."""
        real = termios.tcgetattr(self._real)
        opost = real[_OUTPUT] & termios.OPOST
        for index in (_INPUT, _OUTPUT, _LOCAL, _CHARACTERS):
            real[index] = mode[index]
        real[_OUTPUT] |= opost
        termios.tcsetattr(self._real, termios.TCSADRAIN, real)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._real) == os.getpgrp()
        except OSError:  # not the terminal of our session, so no other job is on it
            return True
