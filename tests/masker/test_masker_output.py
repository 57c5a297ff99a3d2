"""One output of a child: when its copying ends."""

from __future__ import annotations

import os
import select
import sys
import threading
from pathlib import Path

import pytest

from astro_token.masker.filter import Filter
from astro_token.masker.outputs import Output
from tests.timing import wait_until


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="reads an endless device")
def test_what_was_written_before_the_end_of_the_child_has_a_limit() -> None:
    """Else a daemon that prints without a pause kept us for ever."""
    target, stop = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_RDONLY)
    output = Output(target, Filter(None))
    for end in (output.source, output.child_end):
        os.close(end)
    output.source = os.open("/dev/zero", os.O_RDONLY)  # always ready, as it is
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    copying.start()
    copying.join(60)
    assert (False, False, None) == (copying.is_alive(), output.ended, output.error)
    assert 1 << 20 <= output.written < 1 << 22
    for descriptor in (target, stop, output.source):
        os.close(descriptor)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The milliseconds that an output waits for events, each time that it does."""
    waits: list[float | None] = []

    class Poll:
        def __init__(self) -> None:
            events = select.poll()
            self.register, self.unregister, self._poll = events.register, events.unregister, events.poll

        def poll(self, wait: float | None = None) -> list[tuple[int, int]]:
            waits.append(wait)
            return self._poll(wait)

    monkeypatch.setattr(sys.modules[Output.__module__], "poll", Poll)
    return waits


def test_what_may_begin_a_form_waits_less_than_50_ms(waits: list[float | None]) -> None:
    reader, target = os.pipe()
    stop, stopper = os.pipe()
    output = Output(target, Filter(b"secret value"))
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    copying.start()
    os.write(output.child_end, b"x s")
    assert b"x s" == os.read(reader, 2) + os.read(reader, 1)
    os.write(output.child_end, b" ")
    assert b" " == os.read(reader, 1)
    assert [True] == [20 < wait < 50 for wait in {wait for wait in waits if wait is not None}]
    os.close(output.child_end)
    copying.join(60)
    assert (False, True, None) == (copying.is_alive(), output.ended, output.error)
    for descriptor in (reader, target, stop, stopper):
        os.close(descriptor)


def test_a_target_that_cannot_be_asked_costs_no_time(waits: list[float | None]) -> None:
    """Some systems say at once that a device is none to `poll`; a closed descriptor gets the same answer."""
    reader, target = os.pipe()
    stop, stopper = os.pipe()
    output = Output(target, Filter(None))
    os.close(target)
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    copying.start()
    wait_until(lambda: len(waits) >= 2)
    copying.join(0.2)  # for more
    assert (True, [None, None]) == (copying.is_alive(), waits)
    os.close(stopper)
    copying.join(60)
    assert (False, False, None) == (copying.is_alive(), output.ended, output.error)
    for descriptor in (reader, stop, output.source, output.child_end):
        os.close(descriptor)
