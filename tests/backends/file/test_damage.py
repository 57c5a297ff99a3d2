"""A damaged file is an error that says so; never a value, and never a leak."""

from __future__ import annotations

import base64
import random

import pytest

from astro_token.errors import AstroTokenError, DecryptError, SecretNotFoundError
from astro_token.testing import make_token
from tests.backends.file.scene import Scene, failure

TOKEN = make_token()
SAID = {
    "the file is damaged",
    "the file is truncated",
    "the file is not encrypted for the configured key",
    "the file is empty",
}


def outcome(scene: Scene, data: bytes) -> str:
    """What is said of a damaged file. The right value is no harm: white space around armour can change."""
    scene.path.write_bytes(data)
    try:
        value = scene.read()
    except AstroTokenError as failed:
        error = failed
    else:
        assert TOKEN.encode() == value
        return "right"
    assert (DecryptError if data else SecretNotFoundError) is type(error)
    return error.message.removeprefix(f"{scene.ref}: ")


@pytest.mark.parametrize("armoured", [True, False])
def test_with_any_byte_changed_it_is_damaged_and_nothing_else(scene: Scene, armoured: bool) -> None:
    whole = scene.encrypt(TOKEN, armoured=armoured)
    assert "right" == outcome(scene, whole)
    chance = random.Random(2)  # noqa: S311 (the same on every run)
    seen = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= chance.choice((1 << chance.randrange(8), chance.randrange(1, 256)))
        seen.append(outcome(scene, bytes(damaged)))
    assert set(seen) <= SAID | {"right"}
    assert seen.count("right") <= len(seen) // 100
    assert "the file is damaged" in seen


@pytest.mark.parametrize("armoured", [True, False])
def test_cut_at_any_length_it_is_damaged(scene: Scene, armoured: bool) -> None:
    whole = scene.encrypt(TOKEN, armoured=armoured).rstrip(b"\n" if armoured else b"")
    seen = [outcome(scene, whole[:length]) for length in range(0, len(whole), 4)]
    assert set(seen) <= SAID
    assert "the file is truncated" in seen
    if armoured:  # where the end is marked, every cut is seen to be one
        assert {"the file is empty", "the file is truncated"} == set(seen)


@pytest.mark.parametrize("armoured", [True, False])
def test_wrong_key_and_damage_and_a_cut_are_told_apart_and_leak_nothing(
    scene: Scene, armoured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyrage

    whole = scene.encrypt(TOKEN, armoured=armoured)
    damaged = bytearray(whole)
    damaged[-100] ^= 1
    said = []
    for data in (bytes(damaged), whole[:100]):
        scene.path.write_bytes(data)
        said.append(failure(scene.read, TOKEN, str(scene.identity)).message)
    other = str(pyrage.x25519.Identity.generate())
    monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY", other)
    scene.path.write_bytes(whole)
    said.append(failure(scene.read, TOKEN, other).message)
    assert [
        "the file is damaged",
        "the file is truncated",
        "the file is not encrypted for the configured key",
    ] == [message.removeprefix(f"{scene.ref}: ") for message in said]


# Made by `pyrage.passphrase.encrypt`, which takes seconds, as it has to.
WITH_A_PASSPHRASE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCAwbGoxQzNmSDcvcndHNDJPaWlieGtRIDE1CnhoRzRKMG9reXFKQUR5"
    "dWhBREdsZVU4NVpmRlJHOWxnN28yTFdYazVlOVkKLS0tIG1EYkJ0Q3ZaL0hITDFJYWxDU3kzekxnQmtqQlQxa3JLbGpxQUVR"
    "cXB3ZWMKVYdfkczPzKgavDTZqcnqIuo/xwyQQ6c78a8c7LOhdOKEf40zLbfB"
)


def test_a_file_encrypted_with_a_passphrase_says_so(scene: Scene) -> None:
    scene.path.write_bytes(WITH_A_PASSPHRASE)
    error = failure(scene.read, TOKEN)
    assert (DecryptError, 65) == (type(error), error.exit_code)
    assert "passphrase" in error.message
