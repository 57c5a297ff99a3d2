"""Programs that give the identity token, and misbehave."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError, IntegrityError
from astro_token.identity.program import printed_token

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, text: str) -> dict[str, str]:
    path = folder / "agent"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_one_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    environ = program(tmp_path, f"(echo >{tmp_path}/started; sleep 1.5; echo >{tmp_path}/survived) & wait")
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match="agent did not end in time"):
        printed_token(["agent"], environ, 0.5, "see why")
    assert time.monotonic() - start < 1.4
    time.sleep(1.5)
    assert (True, False) == ((tmp_path / "started").exists(), (tmp_path / "survived").exists())


def test_one_that_prints_without_end_is_ended_too(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(IntegrityError, match="no identity token"):
        printed_token(["agent"], program(tmp_path, "exec yes"), 20, "see why")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("own", ["", "setsid "])
def test_what_one_leaves_behind_is_not_waited_for(tmp_path: Path, canary: str, own: str) -> None:
    environ = program(tmp_path, f"{own}sleep 5 & echo {canary}")
    start = time.monotonic()
    assert canary == printed_token(["agent"], environ, 10, "see why").reveal().decode()
    assert time.monotonic() - start < 3
