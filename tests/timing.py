"""
Time limits that also hold on a busy machine.

Tests compare times only with these, and only where what would go wrong takes much longer than the slack:
a server that is silent for a minute, a pause of an hour. Elsewhere they count requests, or set the clock.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLACK = 5.0  # seconds that a busy machine may add
PATIENCE = 60.0  # seconds that a test waits for what has to happen


@contextmanager
def within(seconds: float, *, at_least: float = 0.0) -> Iterator[None]:
    """
    Fail if the block takes longer than these seconds and the slack.

    Args:
        at_least: seconds that it has to take. A busy machine only adds to them.
    """
    started = time.monotonic()
    yield
    took = time.monotonic() - started
    assert at_least <= took <= seconds + SLACK


def wait_until(condition: Callable[[], object], *, patience: float = PATIENCE) -> None:
    """Wait for a condition, and fail if it does not come true."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.005)


def is_running(process: int) -> bool:
    """True for a process that has not ended. One that nobody reaps stays listed as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


class Clock:
    """
    A clock that stands still, in place of the `time` of a module.

    Attributes:
        now: its time.
        waits: the seconds of each pause that was made with it.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.waits.append(seconds)
