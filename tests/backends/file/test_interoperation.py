"""What `age` encrypts is read, and what is written `age` decrypts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.backends.file.scene import Scene, required, ssh_key

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = make_token()
KEY_FILE = "ASTRO_TOKEN_AGE_KEY_FILE"


def age(*arguments: object, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        [required("age"), *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60
    )
    assert (0, b"") == (done.returncode, done.stderr)
    return done.stdout


def keygen(path: Path) -> str:
    subprocess.run([required("age-keygen"), "-o", path], check=True, capture_output=True)
    return subprocess.run(
        [required("age-keygen"), "-y", path], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(params=["x25519", "ed25519", "rsa"])
def key(
    request: pytest.FixtureRequest, scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    """The path of a private key that is configured, and its public half."""
    path = home / "key"
    public = keygen(path) if request.param == "x25519" else ssh_key(path, request.param)[1].strip()
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    monkeypatch.setenv(KEY_FILE, str(path))
    return path, public


@pytest.mark.parametrize("armour", [(), ("-a",)])
def test_what_age_encrypts_is_read(scene: Scene, key: tuple[Path, str], armour: tuple[str, ...]) -> None:
    age("-r", key[1], *armour, "-o", scene.path, data=TOKEN.encode())
    assert TOKEN.encode() == scene.read()


@pytest.mark.parametrize("armour", [(), ("-a",)])
def test_what_replaces_a_file_of_age_is_of_its_form_and_age_decrypts_it(
    scene: Scene, key: tuple[Path, str], armour: tuple[str, ...]
) -> None:
    age("-r", key[1], *armour, "-o", scene.path, data=b"before")
    scene.write(TOKEN, scene.backend.read(scene.ref, timeout=5).version)
    assert bool(armour) == scene.path.read_bytes().startswith(b"-----BEGIN AGE")
    assert TOKEN.encode() == age("-d", "-i", key[0], scene.path)


def test_a_new_file_is_armoured_and_age_decrypts_it(scene: Scene, key: tuple[Path, str]) -> None:
    scene.write(TOKEN, "0")
    assert scene.path.read_bytes().startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert TOKEN.encode() == age("-d", "-i", key[0], scene.path)


def test_a_secret_of_several_chunks_goes_both_ways(scene: Scene, key: tuple[Path, str]) -> None:
    text = "0123456789abcdef" * 9000  # age cuts at 64 KiB
    age("-r", key[1], "-o", scene.path, data=text.encode())
    assert text.encode() == scene.read()
    scene.write(text[1:])
    assert text[1:].encode() == age("-d", "-i", key[0], scene.path)


def test_every_recipient_of_a_list_that_age_takes_can_decrypt(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = home / "first", home / "second"
    third, ssh = ssh_key(home / "third")
    listed = home / "recipients.txt"
    listed.write_text(f"# the team\n{keygen(first)}\n\n{keygen(second)}\n{ssh}")
    age("-R", listed, "-o", scene.path, data=b"before")
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    monkeypatch.setenv(KEY_FILE, str(second))
    monkeypatch.setenv("ASTRO_TOKEN_AGE_RECIPIENTS_FILE", str(listed))
    assert b"before" == scene.read()
    scene.write(TOKEN)
    for key in (first, second, third):
        assert TOKEN.encode() == age("-d", "-i", key, scene.path)
        monkeypatch.setenv(KEY_FILE, str(key))
        assert TOKEN.encode() == scene.read()


def test_a_file_that_age_could_not_have_damaged_is_damaged_for_age_too(
    scene: Scene, key: tuple[Path, str]
) -> None:
    """The negative of the tests above: `age` does notice."""
    scene.write(TOKEN)
    data = bytearray(scene.path.read_bytes())
    data[-100] ^= 1
    scene.path.write_bytes(data)
    done = subprocess.run([required("age"), "-d", "-i", key[0], scene.path], capture_output=True, check=False)
    assert done.returncode != 0
