"""Which age key would be used, told without its value."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from astro_token.secrets.protocols import SupportsAddress, SupportsLogIn
from astro_token.testing import appearances
from tests.backends.clouds import logged
from tests.backends.file.place import failure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.file.place import Place


def source(place: Place) -> str:
    return place.backend.credential_source(place.ref, timeout=5)


def test_the_key_in_a_variable(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.path.write_bytes(place.encrypt("x"))
    caplog.set_level(logging.DEBUG)
    assert "the age key from ASTRO_TOKEN_AGE_KEY" == source(place)
    assert "" == logged(caplog)
    place.read()
    assert logged(caplog).startswith("using the age key from ASTRO_TOKEN_AGE_KEY")
    assert [] == appearances(str(place.identity), logged(caplog) + source(place))


def test_the_key_in_a_file(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.path.write_bytes(place.encrypt("x"))
    file = tmp_path / "my key.txt"
    file.write_text(str(place.identity))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY_FILE", str(file))
    assert f"the age key from ASTRO_TOKEN_AGE_KEY_FILE ({file})" == source(place)


def test_the_key_of_the_users_configuration(
    place: Place, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.path.write_bytes(place.encrypt("x"))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    place.backend.create_key()
    assert f"the age key from {home}/.config/astro-token/age-key.txt" == source(place)


@pytest.mark.parametrize("content", [b"plain", b"vault:v1:abcd"])
def test_a_plain_file_needs_none(place: Place, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    place.path.write_bytes(content)
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    assert "a plain file needs none" == source(place)


def test_a_file_that_is_not_there_lacks_no_credential(place: Place) -> None:
    assert "unknown, because the file cannot be read" == source(place)
    assert 66 == failure(place.read).exit_code


@pytest.mark.parametrize("key", [None, "no key", "/nonexistent"])
def test_without_a_key_the_error_is_that_of_the_read(
    place: Place, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.path.write_bytes(place.encrypt("x"))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    if key:
        monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY_FILE" if key.startswith("/") else "ASTRO_TOKEN_AGE_KEY", key)
    told, read = failure(lambda: source(place)), failure(place.read)
    assert (type(read), read.message, read.hint) == (type(told), told.message, told.hint)
    assert (78 if key == "no key" else 77) == told.exit_code


def test_a_file_has_no_address_and_no_login(place: Place) -> None:
    assert not isinstance(place.backend, SupportsAddress | SupportsLogIn)
