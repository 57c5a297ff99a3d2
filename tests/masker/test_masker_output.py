"""One output of a child: when its copying ends."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from astro_token.masker import Filter
from astro_token.masker.output import Output


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="reads an endless device")
def test_what_was_written_before_the_end_of_the_child_has_a_limit() -> None:
    """Else a daemon that prints without a pause kept us for ever."""
    target, stop = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_RDONLY)
    output = Output(target, Filter([]))
    for end in (output.source, output.childs):
        os.close(end)
    output.source = os.open("/dev/zero", os.O_RDONLY)  # always ready, as it is
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    copying.start()
    copying.join(10)
    assert (False, False, None) == (copying.is_alive(), output.ended, output.error)
    assert 1 << 20 <= output.written < 1 << 22
    for descriptor in (target, stop, output.source):
        os.close(descriptor)


def test_what_may_begin_a_form_waits_less_than_50_ms() -> None:
    """The best of several: what else the machine does only adds to it."""
    reader, target = os.pipe()
    stop, stopper = os.pipe()
    output = Output(target, Filter([b"secret value"]))
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    copying.start()
    waits = []
    for _ in range(9):
        began = time.monotonic()
        os.write(output.childs, b"x s")
        assert b"x s" == os.read(reader, 2) + os.read(reader, 1)
        waits.append(time.monotonic() - began)
        os.write(output.childs, b" ")
        assert b" " == os.read(reader, 1)
    assert 0.02 < min(waits) < 0.05
    os.close(output.childs)
    copying.join(10)
    assert (False, True, None) == (copying.is_alive(), output.ended, output.error)
    for descriptor in (reader, target, stop, stopper):
        os.close(descriptor)


def test_a_target_that_cannot_be_asked_costs_no_time() -> None:
    """Some systems say at once that a device is none to `poll`; a closed descriptor gets the same answer."""
    reader, target = os.pipe()
    stop, stopper = os.pipe()
    output = Output(target, Filter([]))
    os.close(target)
    copying = threading.Thread(target=output.copy, args=(stop,), daemon=True)
    began = time.process_time()
    copying.start()
    copying.join(0.4)
    assert (True, True) == (copying.is_alive(), time.process_time() - began < 0.2)
    os.close(stopper)
    copying.join(10)
    assert (False, False, None) == (copying.is_alive(), output.ended, output.error)
    for descriptor in (reader, stop, output.source, output.childs):
        os.close(descriptor)
