"""Build the programs that read files with the Astro CLI's own libraries. They are written in Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.machine import IN_CI

__all__ = ["SEED", "built"]

SEED = 1148
_SOURCE = Path(__file__).parent / "judge"


def built(package: str, folder: Path) -> Path:
    """Build a package of the module in `judge`. The first time takes a minute. Skip the test without Go."""
    go = shutil.which("go")
    if go is None:
        assert not IN_CI, "CI must have Go"
        pytest.skip("Go is not installed")
    program = folder / "judge"
    # Where the machine has its caches, if a test runs first that hides them.
    environ = {"HOME": str(Path.home()), **os.environ, "CGO_ENABLED": "0"}
    subprocess.run([go, "build", "-o", program, package], cwd=_SOURCE, env=environ, check=True)
    return program
