"""
A pseudo-terminal that stands before a terminal.

It is no controlling terminal: keys, signals and job control stay with the real one, which keeps its modes.
So a kill leaves no terminal in disorder, and what a child leaves running is not hung up.
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
        ours: the side to read from.
        childs: the side that a child is given.
    """

    def __init__(self, real: int) -> None:
        self._real = real
        self.ours, self.childs = os.openpty()
        # Only one of the two may make `\r\n` of a line end.
        mode = termios.tcgetattr(real)
        mode[_OUTPUT] &= ~termios.OPOST
        termios.tcsetattr(self.childs, termios.TCSANOW, mode)
        self._mode = termios.tcgetattr(self.childs)
        self._size = termios.tcgetwinsize(real)
        termios.tcsetwinsize(self.childs, self._size)

    def follow(self) -> None:
        """Passes on the real one's size, and the modes that a child has set on its own."""
        with suppress(termios.error, OSError):
            size = termios.tcgetwinsize(self._real)
            if size != self._size:
                self._size = size
                termios.tcsetwinsize(self.ours, size)
                # They had word of it from the real one, and may have looked before.
                os.killpg(os.tcgetpgrp(self._real), signal.SIGWINCH)
        with suppress(termios.error, OSError):
            mode = termios.tcgetattr(self.ours)
            if mode != self._mode and self._in_front():
                self._mode = mode
                self._apply(mode)

    def _apply(self, mode: list[int | list[bytes | int]]) -> None:
        """Full-screen programs set them where they print, and want keys from the real one so."""
        real = termios.tcgetattr(self._real)
        opost = real[_OUTPUT] & termios.OPOST
        for place in (_INPUT, _OUTPUT, _LOCAL, _CHARACTERS):
            real[place] = mode[place]
        real[_OUTPUT] |= opost
        termios.tcsetattr(self._real, termios.TCSADRAIN, real)

    def _in_front(self) -> bool:
        try:
            return os.tcgetpgrp(self._real) == os.getpgrp()
        except OSError:  # not the terminal of our session: nobody else's job is on it
            return True
