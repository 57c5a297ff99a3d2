"""Which age key would be used, told without its value."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from astro_token.secrets.protocols import SupportsLogIn, SupportsRoute
from astro_token.testing import appearances
from tests.backends.clouds import logged
from tests.backends.file.scene import failure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.file.scene import Scene


def source(scene: Scene) -> str:
    return scene.backend.credential_source(scene.ref, timeout=5)


def test_the_key_in_a_variable(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.path.write_bytes(scene.encrypt("x"))
    caplog.set_level(logging.DEBUG)
    assert "the age key from ASTRO_TOKEN_AGE_KEY" == source(scene)
    assert "" == logged(caplog)
    scene.read()
    assert logged(caplog).startswith("using the age key from ASTRO_TOKEN_AGE_KEY")
    assert [] == appearances(str(scene.identity), logged(caplog) + source(scene))


def test_the_key_in_a_file(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.path.write_bytes(scene.encrypt("x"))
    file = tmp_path / "my key.txt"
    file.write_text(str(scene.identity))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY_FILE", str(file))
    assert f"the age key from ASTRO_TOKEN_AGE_KEY_FILE ({file})" == source(scene)


def test_the_key_of_the_users_configuration(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path.write_bytes(scene.encrypt("x"))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    scene.backend.create_key()
    assert f"the age key from {home}/.config/astro-token/age-key.txt" == source(scene)


@pytest.mark.parametrize("content", [b"plain", b"vault:v1:abcd"])
def test_a_plain_file_needs_none(scene: Scene, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.path.write_bytes(content)
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    assert "a plain file needs none" == source(scene)


def test_a_file_that_is_not_there_lacks_no_credential(scene: Scene) -> None:
    assert "unknown, because the file cannot be read" == source(scene)
    assert 66 == failure(scene.read).exit_code


@pytest.mark.parametrize("key", [None, "no key", "/nonexistent"])
def test_without_a_key_the_error_is_that_of_the_read(
    scene: Scene, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path.write_bytes(scene.encrypt("x"))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    if key:
        monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY_FILE" if key.startswith("/") else "ASTRO_TOKEN_AGE_KEY", key)
    told, read = failure(lambda: source(scene)), failure(scene.read)
    assert (type(read), read.message, read.hint) == (type(told), told.message, told.hint)
    assert (78 if key == "no key" else 77) == told.exit_code


def test_a_file_has_no_address_and_no_login(scene: Scene) -> None:
    assert not isinstance(scene.backend, SupportsRoute | SupportsLogIn)
