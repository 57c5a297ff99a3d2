"""Programs that should print an identity token, and misbehave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError, IntegrityError
from astro_token.identity.program import printed_token
from tests.timing import is_running, wait_until, within

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, text: str) -> dict[str, str]:
    path = folder / "agent"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_one_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    environ = program(tmp_path, f"sleep 60 & echo $! >{child}; wait")
    with within(0.5), pytest.raises(BackendUnavailableError, match="agent did not end in time"):
        printed_token(["agent"], environ, 0.5, "see why", ["JOB"])
    wait_until(lambda: not child.exists() or not is_running(int(child.read_text())))


def test_one_that_prints_without_end_is_ended_too(tmp_path: Path) -> None:
    with within(0), pytest.raises(IntegrityError, match="no identity token"):
        printed_token(["agent"], program(tmp_path, "exec yes"), 60, "see why", ["JOB"])


@pytest.mark.parametrize("own", ["", "setsid "])
def test_what_one_leaves_behind_is_not_waited_for(tmp_path: Path, canary: str, own: str) -> None:
    environ = program(tmp_path, f"{own}sleep 20 & echo {canary}")
    with within(0):
        assert canary == printed_token(["agent"], environ, 60, "see why", ["JOB"]).reveal().decode()
