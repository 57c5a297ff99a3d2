from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.testing import BackendContract, Harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.file.place import Place


def stored(path: Path, data: bytes) -> None:
    path.write_bytes(data)


class TestArmouredFile(BackendContract):
    @pytest.fixture
    def harness(self, place: Place) -> Harness:
        return Harness(
            place.backend,
            store=lambda data: stored(place.path, place.encrypt(data)),
            present=str(place.ref),
            missing="file:missing.age",
            writable="file:written.age",
        )


class TestBinaryFile(BackendContract):
    @pytest.fixture
    def harness(self, place: Place) -> Harness:
        return Harness(
            place.backend,
            store=lambda data: stored(place.path, place.encrypt(data, armoured=False)),
            present="file:prod.token.age",
            missing="file:nowhere/prod.token.age",
        )


class TestPlainFile(BackendContract):
    @pytest.fixture
    def harness(self, place: Place) -> Harness:
        path = place.folder / "token"
        path.touch(0o600)
        return Harness(
            place.backend,
            store=lambda data: stored(path, data),
            present="file:token",
            missing="file:tokens",
        )
