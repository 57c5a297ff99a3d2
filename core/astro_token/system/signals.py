"""Delay the end by a signal until a step that must not be interrupted is over."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["uninterrupted", "with_delayed_signals"]

_LONGEST_DELAY = 5.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_busy: set[int] = set()  # threads in such a step; a signal handler must not wait for a lock
_delayed: set[int] = set()  # signals that have been received, and end the process later
_due: set[int] = set()  # those whose delay is over


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A step of this thread that a signal does not interrupt for up to 5 seconds."""
    thread = threading.get_ident()
    if _delayed:
        time.sleep(_LONGEST_DELAY)  # the program ends meanwhile
    _busy.add(thread)
    try:
        yield
    finally:
        _busy.discard(thread)
        if not _busy:
            _end_delay()


@contextmanager
def with_delayed_signals() -> Iterator[None]:
    """Handle the signals that end this process, in the main thread, so that `uninterrupted` has an effect."""
    previous: dict[int, Any] = {}
    _delayed.clear()
    _due.clear()

    def receive(number: int, frame: Any) -> None:
        handler: Callable[[int, Any], None] = previous[number]
        if not _busy or number in _due:
            handler(number, frame)
        elif number not in _delayed:
            _delayed.add(number)
            timer = threading.Timer(_LONGEST_DELAY, _end_delay)
            timer.daemon = True
            timer.start()

    for name in _NAMES:
        number = getattr(signal, name, None)
        handler = signal.getsignal(number) if number is not None else None
        if number is not None and callable(handler):
            previous[number] = handler
            signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is receive:  # else the program ends already
                signal.signal(number, handler)


def _end_delay() -> None:
    """Send each delayed signal to the main thread, which handles it at once even if it waits."""
    for number in tuple(_delayed - _due):
        _due.add(number)
        main = threading.main_thread().ident
        if main is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, number)
        else:
            signal.raise_signal(number)
