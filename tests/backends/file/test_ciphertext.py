"""Files that hold the ciphertext of a key service: no key of ours, and nothing encrypted twice."""

from __future__ import annotations

import base64
import logging
import stat
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError
from astro_token.secret import SecretValue

if TYPE_CHECKING:
    from tests.backends.file.place import Place

BLOB = b"\x01\x02\x02\x00" + bytes(range(256))
TEXT = base64.b64encode(BLOB)
OTHER = base64.b64encode(BLOB[:4] + BLOB[::-1])


def written(place: Place, data: bytes, expected: str | None) -> str:
    return place.backend.write_ciphertext(place.ref, SecretValue(data), expected_version=expected, timeout=5)


def failure(place: Place, data: bytes, expected: str | None) -> AstroTokenError:
    try:
        written(place, data, expected)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was written")


def test_it_is_stored_as_it_is_and_read_with_a_version(place: Place) -> None:
    version = written(place, TEXT, "0")
    assert (TEXT, 0o600) == (place.path.read_bytes(), stat.S_IMODE(place.path.stat().st_mode))
    value = place.backend.read(place.ref, timeout=5)
    assert (TEXT, version) == (value.reveal(), value.version)


def test_no_age_key_is_needed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY", raising=False)
    written(place, TEXT, None)
    assert TEXT == place.read()


def test_it_replaces_ciphertext_by_compare_and_set(place: Place) -> None:
    first = written(place, TEXT, "0")
    second = written(place, OTHER, first)
    assert first != second
    error = failure(place, TEXT, first)
    assert BackendUnavailableError is type(error)
    assert OTHER == place.path.read_bytes()


@pytest.mark.parametrize("there", ["age", "plain"])
def test_it_replaces_nothing_else(place: Place, canary: str, there: str) -> None:
    before = place.encrypt(canary) if there == "age" else canary.encode()
    place.path.write_bytes(before)
    place.path.chmod(0o600)
    assert OutputError is type(failure(place, TEXT, None))
    assert before == place.path.read_bytes()


def test_encrypting_with_age_does_not_replace_it(place: Place, canary: str) -> None:
    written(place, TEXT, "0")
    with pytest.raises(OutputError):
        place.write(canary)
    assert TEXT == place.path.read_bytes()


@pytest.mark.parametrize("data", [TEXT, TEXT + b"\n", BLOB, b"vault:v1:" + TEXT])
def test_anybody_may_read_it_but_not_a_plain_token(
    place: Place, caplog: pytest.LogCaptureFixture, canary: str, data: bytes
) -> None:
    logging.getLogger("astro_token").propagate = True
    for content, warnings in ((data, 0), (canary.encode(), 1)):
        caplog.clear()
        place.path.write_bytes(content)
        place.path.chmod(0o644)
        assert content == place.read()
        assert warnings == len(caplog.records)
