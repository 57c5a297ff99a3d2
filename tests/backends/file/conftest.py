from __future__ import annotations

from typing import TYPE_CHECKING

import pyrage
import pytest

from tests.backends.file.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the test, whose configuration is in the same place on every system that knows XDG."""
    folder = tmp_path / "home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    return folder


@pytest.fixture
def scene(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    identity = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY", str(identity))
    return Scene(folder, identity)
