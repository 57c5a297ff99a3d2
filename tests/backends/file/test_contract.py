from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import BackendContract, Harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.file.scene import Scene


def stored(path: Path, data: bytes) -> None:
    path.write_bytes(data)


class TestArmouredFile(BackendContract):
    @pytest.fixture
    def harness(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Harness:
        @contextmanager
        def without_key() -> Iterator[None]:
            with monkeypatch.context() as within:
                within.delenv("ASTRO_TOKEN_AGE_KEY")
                yield

        return Harness(
            scene.backend,
            store=lambda data: stored(scene.path, scene.encrypt(data)),
            without_credential=without_key,
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
