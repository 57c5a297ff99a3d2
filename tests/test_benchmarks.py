"""The benchmarks run; what they print is never a test's business."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_they_run_and_print_a_ratio_for_each_pair() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--runs", "1", "--blocks", "1", "--no-instructions"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if " ms " in f"{line} "]) == 18
