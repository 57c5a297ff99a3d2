"""One output of a child: when its copying ends."""

from __future__ import annotations

import os
import threading
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
