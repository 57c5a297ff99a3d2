"""Compare-and-set, modes, links, full disks, and writers at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    OutputError,
)
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.backends.file.scene import Scene, environment, failure, mode, umask, unprivileged
from tests.timing import within

OLD, NEW = make_token(), make_token()
WRITER = Path(__file__).with_name("writer.py")


def test_a_version_is_compared(scene: Scene) -> None:
    first = scene.write(OLD, "0")
    assert BackendUnavailableError is type(failure(lambda: scene.write(NEW, "0"), NEW, OLD))
    assert BackendUnavailableError is type(failure(lambda: scene.write(NEW, "0123456789abcdef"), NEW, OLD))
    assert OLD.encode() == scene.read()
    second = scene.write(NEW, first)
    assert second == scene.backend.read(scene.ref, timeout=5).version
    assert first != second
    assert NEW.encode() == scene.read()
    scene.path.unlink()
    assert BackendUnavailableError is type(failure(lambda: scene.write(NEW, second), NEW))
    assert [] == scene.names()


def test_the_same_text_gets_another_version_each_time(scene: Scene) -> None:
    assert scene.write(OLD) != scene.write(OLD)


def test_a_file_of_no_bytes_counts_as_none(scene: Scene) -> None:
    scene.path.touch()
    scene.write(NEW, "0")
    assert NEW.encode() == scene.read()


def test_a_plain_file_is_never_written(scene: Scene) -> None:
    scene.path.write_text(OLD)
    scene.path.chmod(0o600)
    error = failure(lambda: scene.write(NEW), NEW, OLD)
    assert (OutputError, 73) == (type(error), error.exit_code)
    assert OLD == scene.path.read_text()


@pytest.mark.parametrize("armoured", [True, False])
def test_a_file_that_no_longer_tells_for_whom_it_is_is_not_replaced(scene: Scene, armoured: bool) -> None:
    whole = scene.encrypt(OLD, armoured=armoured)
    for damaged in (whole[:200], whole.replace(b"\n", b"\n!", 2)):
        scene.path.write_bytes(damaged)
        error = failure(lambda: scene.write(NEW), NEW, OLD)
        assert (OutputError, 73) == (type(error), error.exit_code)
        assert damaged == scene.path.read_bytes()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_what_is_written_is_ours_alone_whatever_the_umask(scene: Scene, mask: int) -> None:
    with umask(mask):
        scene.write(OLD)
    assert 0o600 == mode(scene.path)
    scene.path.chmod(0o644)
    with umask(mask):
        scene.write(NEW)
    assert 0o600 == mode(scene.path)
    assert [scene.path.name] == scene.names()


@pytest.mark.parametrize("target", ["elsewhere.age", "nowhere"])
def test_nothing_is_written_through_a_link(scene: Scene, target: str) -> None:
    elsewhere = scene.folder / "elsewhere.age"
    elsewhere.write_bytes(scene.encrypt(OLD))
    scene.path.symlink_to(target)
    error = failure(lambda: scene.write(NEW), NEW)
    assert (OutputError, 73) == (type(error), error.exit_code)
    assert OLD.encode() == scene.read(elsewhere)
    assert ["elsewhere.age", scene.path.name] == scene.names()


def test_a_second_name_of_the_file_keeps_the_old_content(scene: Scene) -> None:
    scene.write(OLD)
    (scene.folder / "second").hardlink_to(scene.path)
    scene.write(NEW)
    assert (NEW.encode(), OLD.encode()) == (scene.read(), scene.read(scene.folder / "second"))


def test_what_is_no_regular_file_is_refused(scene: Scene) -> None:
    os.mkfifo(scene.folder / "fifo")
    (scene.folder / "folder").mkdir()
    for name in ("fifo", "folder", "/dev/null"):
        error = failure(lambda name=name: scene.write(NEW, path=Path(name)), NEW)  # type: ignore[misc]
        assert (OutputError, 73) == (type(error), error.exit_code), name


def test_a_folder_that_is_missing_is_refused(scene: Scene) -> None:
    for path in (Path("nowhere/x.age"), scene.path / "x.age"):
        scene.path.touch()
        error = failure(lambda path=path: scene.write(NEW, path=path), NEW)  # type: ignore[misc]
        assert (OutputError, 73) == (type(error), error.exit_code)


def test_a_folder_that_we_may_not_write_is_denied(scene: Scene) -> None:
    scene.write(OLD)
    scene.path.chmod(0o644)
    scene.folder.chmod(0o555)
    with unprivileged():
        error = failure(lambda: scene.write(NEW, path=Path(scene.path.name)), NEW)
    scene.folder.chmod(0o755)
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert "permission to write the file is denied" in error.message
    assert OLD.encode() == scene.read()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(scene: Scene) -> None:
    scene.write(OLD)
    before = scene.path.read_bytes()
    done = subprocess.run(
        [sys.executable, WRITER, scene.path, "--limit", "512"],
        input=f"{NEW} any\n",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ("error 74 writing the file failed: file too large", "") == (done.stdout.strip(), done.stderr)
    assert before == scene.path.read_bytes()
    assert [scene.path.name] == scene.names()


def test_of_two_processes_that_write_at_once_exactly_one_wins(scene: Scene) -> None:
    scene.write(OLD)
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, scene.path],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for _ in range(40):
            expected = scene.backend.describe(scene.ref, timeout=5).version
            tokens = [make_token(), make_token()]
            for writer, token in zip(writers, tokens, strict=True):
                assert writer.stdin
                writer.stdin.write(f"{token} {expected}\n")
                writer.stdin.flush()
            said = [writer.stdout.readline().split()[:2] for writer in writers if writer.stdout]
            assert ["error", "written"] == sorted(first for first, _ in said)
            assert ["error", "75"] in said
            winner = [first for first, _ in said].index("written")
            assert tokens[winner].encode() == scene.read()
    finally:
        for writer in writers:
            writer.communicate(timeout=60)
    assert [scene.path.name] == scene.names()


def test_a_writer_that_cannot_get_the_lock_says_so_in_time(scene: Scene) -> None:
    holder = os.open(scene.folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with within(0.2, at_least=0.2):
            error = failure(
                lambda: scene.backend.write(
                    scene.ref, SecretValue(NEW.encode()), expected_version=None, timeout=0.2
                ),
                NEW,
            )
    finally:
        os.close(holder)
    assert (BackendUnavailableError, 75) == (type(error), error.exit_code)
    scene.write(NEW)
    assert NEW.encode() == scene.read()
