"""
Prompt a person at the terminal.

Standard input may belong to a command, so that the terminal is opened by its name.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = [
    "allow_prompts",
    "can_prompt",
    "ended_by_prompt",
    "is_in_foreground",
    "open_terminal",
    "prompt",
    "restore_echo",
]

_LONGEST = 2 * 1024 * 1024  # bytes; a terminal limits a line to less
# Git and pre-commit set these for their hooks, which a person does not expect to ask a question.
_HOOKS = ("GIT_EXEC_PATH", "PRE_COMMIT")

_allowed = False
_saved: list[tuple[int, list[Any]]] = []
_displays: list[Callable[[], None]] = []


def allow_prompts() -> None:
    """Declare that this process is the command line's own."""
    global _allowed  # noqa: PLW0603 (a property of the process)
    _allowed = True


def can_prompt() -> bool:
    """True in the command line's own process, in the foreground of a terminal, and not in a hook of git's."""
    return _allowed and not any(name in os.environ for name in _HOOKS) and is_in_foreground()


def is_in_foreground() -> bool:
    """True if our process group has the terminal, whose keys then reach a child directly."""
    try:
        terminal = open_terminal()
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def open_terminal(flags: int = os.O_RDONLY) -> int:
    """
    Open the controlling terminal.

    Raises:
        OSError: there is none.
    """
    return os.open("/dev/tty", flags | os.O_CLOEXEC | os.O_NOCTTY)


@contextmanager
def ended_by_prompt(end: Callable[[], None]) -> Iterator[None]:
    """Register a display that would overwrite a prompt; the function ends it."""
    _displays.append(end)
    try:
        yield
    finally:
        _displays.remove(end)


def prompt(text: str, *, echo: bool = False) -> bytes:
    """
    Show a text and read a line.

    Args:
        echo: the terminal shows what is typed.

    Returns:
        The line without its end; nothing after Ctrl-D.

    Raises:
        OSError: there is no terminal.
        EOFError: after Ctrl-D, if the terminal shows what is typed: an empty line can accept a default.
    """
    import termios

    for end in _displays:
        end()
    terminal = open_terminal(os.O_RDWR)
    saved = termios.tcgetattr(terminal)
    keys = list(saved[6])
    # Ctrl-\ and Ctrl-Z would end or stop us without echo.
    keys[termios.VQUIT] = keys[termios.VSUSP] = bytes([os.fpathconf(terminal, "PC_VDISABLE")])
    silent = [*saved[:3], saved[3] if echo else saved[3] & ~termios.ECHO, *saved[4:6], keys]
    _saved.append((terminal, saved))
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        os.write(terminal, "".join(c if c.isprintable() else "?" for c in text).encode(errors="replace"))
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST:
            part = os.read(terminal, 65536)
            if not part:
                break
            line += part
        if not echo or not line:
            os.write(terminal, b"\n")  # the terminal has not echoed the person's
        if echo and not line:
            raise EOFError
        return line.rstrip(b"\r\n")
    finally:
        restore_echo()
        os.close(terminal)


def restore_echo() -> None:
    """Restore the terminal. Another thread may still wait for a line when the process ends."""
    while _saved:
        import termios

        terminal, attributes = _saved.pop()
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
