"""The benchmarks run; what they print is never a test's business."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("only", "ratios"),
    [("vault", 3), ("command", 2), pytest.param("", 18, marks=pytest.mark.long)],
    ids=["a server", "commands", "all"],
)
def test_they_run_and_print_a_ratio_for_each_pair(only: str, ratios: int) -> None:
    options = ["--runs", "1", "--blocks", "1", "--no-instructions", "--only", only]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if " ms " in f"{line} "]) == ratios
