"""A rotation that is killed at any call of the system is finished by the next run, and nothing is lost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError
from astro_token.lifecycle import perform
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.protocol import LEASE_SECONDS
from tests.lifecycle.scene import Scene, Watcher, ident_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROTATE = ("rotate", "--grace", "0s")
IN_FLIGHT = 0.05  # seconds for a request that was sent before the kill


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)


@contextmanager
def killed(scene: Scene, *arguments: str) -> Iterator[Callable[[str], str]]:
    """Runs of the program that are killed or stopped at a step."""
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

        def run(line: str) -> str:
            scene.requests = []
            print(line, file=stdin, flush=True)
            return stdout.readline().strip()

        yield run
        stdin.close()


def sweep(scene: Scene, *, first: int = 0, every: int = 1) -> int:
    """Kill a rotation at every step, or at some; return how many there were."""
    scene.begin()
    states = set()
    with Watcher(scene) as watcher, killed(scene, *ROTATE, str(scene.settings.ref)) as run:
        for step in itertools.count(first, every):
            status = run(str(step))
            if status == "0":
                break
            assert "-9" == status
            time.sleep(IN_FLIGHT)
            record = scene.record
            states.add((record.intent is not None, record.pending is not None, record.previous is not None))
            scene.finish()
            assert [] == scene.outages
            assert scene.works
            assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    count = (step - first) // every
    print(
        f"{scene.settings.ref.scheme}: {count} kills, {len(states)} states, {len(scene.outages)} outages, "
        f"{watcher.uses} uses, {watcher.failures} failed"
    )
    assert 0 == watcher.failures < watcher.uses
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    return count


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_every_kill_loses_nothing(scene: Scene) -> None:
    assert sweep(scene) > 100


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_some_kills_lose_nothing(scene: Scene) -> None:
    assert sweep(scene, first=10, every=90) > 1


def pauses(scene: Scene, *, first: int = 0, every: int = 1) -> int:
    """Stop a rotator at some steps, let another one rotate after its lease, and continue it."""
    scene.begin()
    beside: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    with Watcher(scene) as watcher, killed(scene, *ROTATE, str(scene.settings.ref)) as run:
        for step in itertools.count(first, every):
            status = run(f"stop {step}")
            if status != "stopped":
                break
            scene.later += LEASE_SECONDS + 1
            try:
                beside[scene.run_beside(seconds=3.0)] += 1
            except BackendUnavailableError:  # the stopped run holds the lock of a file
                beside["locked"] += 1
            statuses[run("continue")] += 1
            scene.finish()
            assert [] == scene.outages
            assert scene.works
            assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
            scene.later = 0.0
    print(
        f"{scene.settings.ref.scheme}: {sum(statuses.values())} stops, meanwhile {dict(beside)}, then "
        f"{dict(statuses)}, {watcher.uses} uses, {watcher.failures} failed"
    )
    assert "0" == status
    assert {"0", "75", "80"} >= statuses.keys()
    assert 0 == watcher.failures < watcher.uses
    assert beside["done"] > 0
    return sum(statuses.values())


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_many_stops_beyond_the_lease_lose_nothing(scene: Scene) -> None:
    assert pauses(scene, every=4) > 20


@pytest.mark.parametrize("scene", ["kv2"], indirect=True)
def test_some_stops_beyond_the_lease_lose_nothing(scene: Scene) -> None:
    assert pauses(scene, first=40, every=70) > 1
