"""A kill at any step leaves the old file or the new one, never half of one, and nothing in clear."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backends.file.scene import Scene, environment

some_or_all = pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)])


def killed(scene: Scene, monkeypatch: pytest.MonkeyPatch, work: str, every: int) -> dict[str, Any]:
    temporary = scene.folder.parent / "temporary"
    temporary.mkdir()
    if work == "key":
        monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed.py"), work, scene.folder, str(every)],
        env=environment(TMPDIR=temporary),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert [] == list(temporary.iterdir())
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@some_or_all
@pytest.mark.parametrize(("work", "states"), [("replace", {"old", "new"}), ("create", {"none", "new"})])
def test_a_write_that_is_killed_at_any_step_has_happened_or_has_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, work: str, states: set[str], every: int
) -> None:
    report = killed(scene, monkeypatch, work, every)
    assert states == set(report["seen"])
    assert report["steps"] > 100
    assert report["abandoned"] > 0, "no kill fell between the temporary file and its renaming"
    assert ([], 0) == (report["unmended"], report["leaked"])


@some_or_all
def test_a_key_whose_making_is_killed_at_any_step_is_whole_or_is_not_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    report = killed(scene, monkeypatch, "key", every)
    assert {"none", "new"} == set(report["seen"])
    assert report["steps"] > 50
    assert report["abandoned"] > 0
    assert [] == report["unmended"]
