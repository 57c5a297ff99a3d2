"""Plain files as they are mounted, and what cannot be read."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from astro_token.errors import (
    AccessDeniedError,
    DecryptError,
    InvalidTokenError,
    MissingDependencyError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, make_token
from tests.backends.file.scene import Scene, environment, failure, unprivileged

TOKEN = make_token()


def plain(scene: Scene, mode: int = 0o600, text: str = TOKEN) -> Path:
    path = scene.folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_that_kubernetes_mounts_is_read_and_its_rotation_is_followed(scene: Scene) -> None:
    for generation, token in enumerate((make_token(), make_token())):
        data = scene.folder / f"..2026_11_23_{generation}"
        data.mkdir()
        (data / "token").write_text(token)
        (data / "token").chmod(0o440)
        swap = scene.folder / "..data_tmp"
        swap.symlink_to(data.name)
        swap.replace(scene.folder / "..data")
        if not generation:
            (scene.folder / "token").symlink_to("..data/token")
        assert token.encode() == scene.read(scene.folder / "token")


def test_a_systemd_credential_is_read_from_its_read_only_folder(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = scene.folder / "credentials"
    credentials.mkdir()
    (credentials / "astro").write_text(TOKEN)
    (credentials / "astro").chmod(0o400)
    credentials.chmod(0o500)
    assert TOKEN.encode() == scene.read(credentials / "astro")
    assert [] == caplog.records


def test_a_plain_file_needs_no_key_and_no_pyrage(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    monkeypatch.setitem(sys.modules, "pyrage", None)
    assert TOKEN.encode() == scene.read(plain(scene))
    assert scene.backend.describe(SecretRef("file", "token"), timeout=5).version is None


def test_an_encrypted_file_without_pyrage_names_the_package(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path.write_bytes(scene.encrypt(TOKEN))
    monkeypatch.setitem(sys.modules, "pyrage", None)
    error = failure(scene.read, TOKEN)
    assert MissingDependencyError is type(error)
    assert "pip install pyrage" == error.hint


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_plain_file_that_others_cannot_read_is_read_in_silence(
    scene: Scene, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert TOKEN.encode() == scene.read(plain(scene, mode))
    assert [] == caplog.records


@pytest.mark.parametrize("mode", [0o644, 0o444, 0o604])
def test_a_plain_file_that_everybody_can_read_is_warned_of(
    scene: Scene, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = plain(scene, mode)
    assert TOKEN.encode() == scene.read(path)
    (record,) = caplog.records
    assert (logging.WARNING, "astro_token") == (record.levelno, record.name)
    assert str(path) in record.getMessage()
    assert [] == appearances(TOKEN, record.getMessage())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_plain_file_of_a_group_is_taken(scene: Scene, mode: int) -> None:
    assert TOKEN.encode() == scene.read(plain(scene, mode))


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_a_plain_file_that_everybody_can_write_is_refused(scene: Scene, mode: int) -> None:
    path = plain(scene, mode)
    error = failure(lambda: scene.read(path), TOKEN)
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert "chmod 600" in (error.hint or "")


def test_the_modes_of_an_encrypted_file_do_not_matter(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.path.write_bytes(scene.encrypt(TOKEN))
    scene.path.chmod(0o666)
    assert TOKEN.encode() == scene.read()
    assert [] == caplog.records


def test_the_version_is_that_of_the_encrypted_bytes_and_the_time_that_of_the_file(scene: Scene) -> None:
    data = scene.encrypt(TOKEN)
    scene.path.write_bytes(data)
    os.utime(scene.path, (0, 1_700_000_000))
    version = hashlib.sha256(data).hexdigest()[:16]
    metadata = scene.backend.describe(scene.ref, timeout=5)
    assert version == scene.backend.read(scene.ref, timeout=5).version == metadata.version
    assert datetime.fromtimestamp(1_700_000_000, UTC) == metadata.updated


def test_describing_an_encrypted_file_needs_no_key(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.path.write_bytes(scene.encrypt(TOKEN))
    monkeypatch.delenv("ASTRO_TOKEN_AGE_KEY")
    assert scene.backend.describe(scene.ref, timeout=5).version


def test_what_is_no_regular_file_is_no_secret_and_does_not_hang(scene: Scene) -> None:
    os.mkfifo(scene.folder / "fifo")
    (scene.folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")  # in the current folder: the whole path can be too long for one
        for name in ("fifo", "folder", "socket", "/dev/null"):
            error = failure(lambda name=name: scene.read(Path(name)))  # type: ignore[misc]
            assert (UnusableSecretError, 66) == (type(error), error.exit_code), name
            assert f"file:{name}: it is not a regular file" == error.message


def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    plain(scene)
    (scene.folder / "loop").symlink_to("loop")
    (scene.folder / "dangling").symlink_to("nowhere")
    for name in ("missing", "token/below", "loop", "dangling", "a" * 300):
        error = failure(lambda name=name: scene.read(Path(name)))  # type: ignore[misc]
        assert (SecretNotFoundError, 66) == (type(error), error.exit_code), name
    assert "$HOME" in (failure(lambda: scene.read(Path("~/token"))).hint or "")


def test_an_empty_file_is_no_secret(scene: Scene) -> None:
    error = failure(lambda: scene.read(plain(scene, text="")))
    assert (SecretNotFoundError, 66) == (type(error), error.exit_code)


def test_a_file_that_is_too_large_is_no_token(scene: Scene) -> None:
    limit = 256 * 1024
    assert limit == len(scene.read(plain(scene, text="x" * limit)))
    error = failure(lambda: scene.read(plain(scene, text="x" * (limit + 1))))
    assert (InvalidTokenError, 65) == (type(error), error.exit_code)


def test_a_file_that_we_may_not_read_is_denied(scene: Scene) -> None:
    scene.folder.chmod(0o755)
    path = plain(scene, 0o600)
    if os.geteuid() != 0:
        path.chmod(0o000)
    with unprivileged():
        error = failure(lambda: scene.read(Path(path.name)))
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert "permission to read the file is denied" in error.message


@pytest.mark.skipif(sys.platform != "linux", reason="has a file whose reading fails")
def test_a_read_that_fails_is_an_input_error_and_no_bug(scene: Scene) -> None:
    error = failure(lambda: scene.read(Path("/proc/self/mem")))
    assert 74 == error.exit_code
    assert "reading the file failed" in error.message


@pytest.mark.parametrize("before", [b"", b"\n\n", b"\r\n \t\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_armoured_file_is_read_as_editors_leave_it(scene: Scene, before: bytes, line_end: bytes) -> None:
    scene.path.write_bytes(before + scene.encrypt(TOKEN).replace(b"\n", line_end) + line_end)
    assert TOKEN.encode() == scene.read()


def test_a_plain_text_that_resembles_an_age_file_a_little_is_plain(scene: Scene) -> None:
    for text in ("-----BEGIN CERTIFICATE-----\n", "age: 42", "eyJhbGciOi", '{"token": "x"}', "a" * 80):
        assert text.encode() == scene.read(plain(scene, text=text))


def test_a_file_of_a_later_format_is_not_taken_for_a_plain_one(scene: Scene) -> None:
    scene.path.write_bytes(scene.encrypt(TOKEN, armoured=False).replace(b"/v1\n", b"/v2\n", 1))
    assert DecryptError is type(failure(scene.read, TOKEN))


def test_a_plain_file_loads_only_what_reads_it(scene: Scene, canary: str) -> None:
    scene.path.write_text(canary)
    scene.path.chmod(0o600)
    code = f"""
import sys
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends, open_backend
ref = SecretRef.parse({str(scene.ref)!r})
assert {canary!r} == open_backend("file").read(ref, timeout=1).reveal().decode()
close_backends()
unneeded = ("pyrage", "hashlib", "platformdirs", "base64", "json")
print({{*unneeded, "astro_token.secrets.protocols", "astro_token_backends.file.login"}} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, cwd=scene.folder
    )
    assert "set()\n" == done.stdout, done.stderr
