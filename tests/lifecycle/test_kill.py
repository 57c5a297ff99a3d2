"""A rotation that is killed at any call of the system is finished by the next run, and nothing is lost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.lifecycle import perform
from astro_token.lifecycle.effects import RotationRecord
from tests.lifecycle.scene import Scene, ident_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT = 0.05  # seconds for a request that was sent before the kill


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)


@contextmanager
def killed(scene: Scene, *arguments: str) -> Iterator[Callable[[int], int]]:
    """Runs of the program that are killed at a step."""
    variables = {
        "ASTRO_TOKEN_API_URL": scene.astro.url,
        "ASTRO_TOKEN_ADMIN_REF": "env:MANAGES",
        "MANAGES": scene.admin,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed.py")), *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def run(step: int) -> int:
            scene.requests = []
            print(step, file=stdin, flush=True)
            return int(stdout.readline())

        yield run
        stdin.close()


def sweep(scene: Scene, *, first: int = 0, every: int = 1) -> int:
    """Kill a rotation at every step, or at some; return how many there were."""
    scene.begin()
    states = set()
    with killed(scene, "rotate", str(scene.settings.ref), "--grace", "0s") as run:
        for step in itertools.count(first, every):
            status = run(step)
            if status == 0:
                break
            assert -9 == status
            time.sleep(IN_FLIGHT)
            record = scene.record
            states.add((record.intent is not None, record.pending is not None, record.previous is not None))
            scene.finish()
            assert [] == scene.outages
            assert scene.works
            assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    count = (step - first) // every
    print(f"{scene.settings.ref.scheme}: {count} kills, {len(states)} states, {len(scene.outages)} outages")
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    return count


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_every_kill_loses_nothing(scene: Scene) -> None:
    assert sweep(scene) > 100


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_some_kills_lose_nothing(scene: Scene) -> None:
    assert sweep(scene, first=10, every=50) > 1
