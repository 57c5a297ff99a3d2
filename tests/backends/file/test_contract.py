from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.testing import BackendContract, Harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.file.scene import Scene


def stored(path: Path, data: bytes) -> None:
    path.write_bytes(data)


class TestArmouredFile(BackendContract):
    @pytest.fixture
    def harness(self, scene: Scene) -> Harness:
        return Harness(
            scene.backend,
            store=lambda data: stored(scene.path, scene.encrypt(data)),
            present=str(scene.ref),
            missing="file:missing.age",
            writable="file:written.age",
        )


class TestBinaryFile(BackendContract):
    @pytest.fixture
    def harness(self, scene: Scene) -> Harness:
        return Harness(
            scene.backend,
            store=lambda data: stored(scene.path, scene.encrypt(data, armoured=False)),
            present="file:prod.token.age",
            missing="file:nowhere/prod.token.age",
        )


class TestPlainFile(BackendContract):
    @pytest.fixture
    def harness(self, scene: Scene) -> Harness:
        path = scene.folder / "token"
        path.touch(0o600)
        return Harness(
            scene.backend,
            store=lambda data: stored(path, data),
            present="file:token",
            missing="file:tokens",
        )
