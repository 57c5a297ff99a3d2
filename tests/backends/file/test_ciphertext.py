"""Files that hold the ciphertext of a key service: no key of ours, and nothing encrypted twice."""

from __future__ import annotations

import base64
import logging
import stat
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, OutputError
from astro_token.secret import SecretValue

if TYPE_CHECKING:
    from tests.backends.file.scene import Scene

BLOB = b"\x01\x02\x02\x00" + bytes(range(256))
TEXT = base64.b64encode(BLOB)
OTHER = base64.b64encode(BLOB[:4] + BLOB[::-1])


def written(scene: Scene, data: bytes, expected: str | None) -> str:
    return scene.backend.write_ciphertext(scene.ref, SecretValue(data), expected_version=expected, timeout=5)


def failure(scene: Scene, data: bytes, expected: str | None) -> AstroTokenError:
    try:
        written(scene, data, expected)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was written")


def test_it_is_stored_as_it_is_and_read_with_a_version(scene: Scene) -> None:
    version = written(scene, TEXT, "0")
    assert (TEXT, 0o600) == (scene.path.read_bytes(), stat.S_IMODE(scene.path.stat().st_mode))
    value = scene.backend.read(scene.ref, timeout=5)
    assert (TEXT, version) == (value.reveal(), value.version)


def test_no_age_key_is_needed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY", raising=False)
    written(scene, TEXT, None)
    assert TEXT == scene.read()


def test_it_replaces_ciphertext_by_compare_and_set(scene: Scene) -> None:
    first = written(scene, TEXT, "0")
    second = written(scene, OTHER, first)
    assert first != second
    error = failure(scene, TEXT, first)
    assert BackendUnavailableError is type(error)
    assert OTHER == scene.path.read_bytes()


@pytest.mark.parametrize("there", ["age", "plain"])
def test_it_replaces_nothing_else(scene: Scene, canary: str, there: str) -> None:
    before = scene.encrypt(canary) if there == "age" else canary.encode()
    scene.path.write_bytes(before)
    scene.path.chmod(0o600)
    assert OutputError is type(failure(scene, TEXT, None))
    assert before == scene.path.read_bytes()


def test_encrypting_with_age_does_not_replace_it(scene: Scene, canary: str) -> None:
    written(scene, TEXT, "0")
    with pytest.raises(OutputError):
        scene.write(canary)
    assert TEXT == scene.path.read_bytes()


@pytest.mark.parametrize("data", [TEXT, BLOB, b"vault:v1:" + TEXT])
def test_anybody_may_write_it_because_it_is_authenticated(scene: Scene, canary: str, data: bytes) -> None:
    """A checkout with umask 0 makes it so."""
    scene.path.write_bytes(data)
    scene.path.chmod(0o666)
    assert data == scene.read()
    scene.path.write_bytes(canary.encode())
    with pytest.raises(AccessDeniedError):
        scene.read()


@pytest.mark.parametrize("data", [TEXT, TEXT + b"\n", BLOB, b"vault:v1:" + TEXT])
def test_anybody_may_read_it_but_not_a_plain_token(
    scene: Scene, caplog: pytest.LogCaptureFixture, canary: str, data: bytes
) -> None:
    logging.getLogger("astro_token").propagate = True
    for content, warnings in ((data, 0), (canary.encode(), 1)):
        caplog.clear()
        scene.path.write_bytes(content)
        scene.path.chmod(0o644)
        assert content == scene.read()
        assert warnings == len(caplog.records)
