"""Compare-and-set, modes, links, full disks, and writers at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    OutputError,
)
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from tests.backends.file.place import Place, environment, failure, mode, umask, unprivileged

OLD, NEW = make_token(), make_token()
WRITER = Path(__file__).with_name("writer.py")


def test_a_version_is_compared(place: Place) -> None:
    first = place.write(OLD, "0")
    assert BackendUnavailableError is type(failure(lambda: place.write(NEW, "0"), NEW, OLD))
    assert BackendUnavailableError is type(failure(lambda: place.write(NEW, "0123456789abcdef"), NEW, OLD))
    assert OLD.encode() == place.read()
    second = place.write(NEW, first)
    assert second == place.backend.read(place.ref, timeout=5).version
    assert first != second
    assert NEW.encode() == place.read()
    place.path.unlink()
    assert BackendUnavailableError is type(failure(lambda: place.write(NEW, second), NEW))
    assert [] == place.names()


def test_the_same_text_gets_another_version_each_time(place: Place) -> None:
    assert place.write(OLD) != place.write(OLD)


def test_a_file_of_no_bytes_counts_as_none(place: Place) -> None:
    place.path.touch()
    place.write(NEW, "0")
    assert NEW.encode() == place.read()


def test_a_plain_file_is_never_written(place: Place) -> None:
    place.path.write_text(OLD)
    place.path.chmod(0o600)
    error = failure(lambda: place.write(NEW), NEW, OLD)
    assert (OutputError, 73) == (type(error), error.exit_code)
    assert OLD == place.path.read_text()


@pytest.mark.parametrize("armoured", [True, False])
def test_a_file_that_no_longer_tells_for_whom_it_is_is_not_replaced(place: Place, armoured: bool) -> None:
    whole = place.encrypt(OLD, armoured=armoured)
    for damaged in (whole[:200], whole.replace(b"\n", b"\n!", 2)):
        place.path.write_bytes(damaged)
        error = failure(lambda: place.write(NEW), NEW, OLD)
        assert (OutputError, 73) == (type(error), error.exit_code)
        assert damaged == place.path.read_bytes()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_what_is_written_is_ours_alone_whatever_the_umask(place: Place, mask: int) -> None:
    with umask(mask):
        place.write(OLD)
    assert 0o600 == mode(place.path)
    place.path.chmod(0o644)
    with umask(mask):
        place.write(NEW)
    assert 0o600 == mode(place.path)
    assert [place.path.name] == place.names()


@pytest.mark.parametrize("target", ["elsewhere.age", "nowhere"])
def test_nothing_is_written_through_a_link(place: Place, target: str) -> None:
    elsewhere = place.folder / "elsewhere.age"
    elsewhere.write_bytes(place.encrypt(OLD))
    place.path.symlink_to(target)
    error = failure(lambda: place.write(NEW), NEW)
    assert (OutputError, 73) == (type(error), error.exit_code)
    assert OLD.encode() == place.read(elsewhere)
    assert ["elsewhere.age", place.path.name] == place.names()


def test_a_second_name_of_the_file_keeps_the_old_content(place: Place) -> None:
    place.write(OLD)
    (place.folder / "second").hardlink_to(place.path)
    place.write(NEW)
    assert (NEW.encode(), OLD.encode()) == (place.read(), place.read(place.folder / "second"))


def test_what_is_no_regular_file_is_refused(place: Place) -> None:
    os.mkfifo(place.folder / "fifo")
    (place.folder / "folder").mkdir()
    for name in ("fifo", "folder", "/dev/null"):
        error = failure(lambda name=name: place.write(NEW, path=Path(name)), NEW)  # type: ignore[misc]
        assert (OutputError, 73) == (type(error), error.exit_code), name


def test_a_folder_that_is_missing_is_refused(place: Place) -> None:
    for path in (Path("nowhere/x.age"), place.path / "x.age"):
        place.path.touch()
        error = failure(lambda path=path: place.write(NEW, path=path), NEW)  # type: ignore[misc]
        assert (OutputError, 73) == (type(error), error.exit_code)


def test_a_folder_that_we_may_not_write_is_denied(place: Place) -> None:
    place.write(OLD)
    place.path.chmod(0o644)
    place.folder.chmod(0o555)
    with unprivileged():
        error = failure(lambda: place.write(NEW, path=Path(place.path.name)), NEW)
    place.folder.chmod(0o755)
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert "permission to write the file is denied" in error.message
    assert OLD.encode() == place.read()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(place: Place) -> None:
    place.write(OLD)
    before = place.path.read_bytes()
    done = subprocess.run(
        [sys.executable, WRITER, place.path, "--limit", "512"],
        input=f"{NEW} any\n",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ("error 74 writing the file failed: file too large", "") == (done.stdout.strip(), done.stderr)
    assert before == place.path.read_bytes()
    assert [place.path.name] == place.names()


def test_of_two_processes_that_write_at_once_exactly_one_wins(place: Place) -> None:
    place.write(OLD)
    writers = [
        subprocess.Popen(
            [sys.executable, WRITER, place.path],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for _ in range(40):
            expected = place.backend.describe(place.ref, timeout=5).version
            tokens = [make_token(), make_token()]
            for writer, token in zip(writers, tokens, strict=True):
                assert writer.stdin
                writer.stdin.write(f"{token} {expected}\n")
                writer.stdin.flush()
            said = [writer.stdout.readline().split()[:2] for writer in writers if writer.stdout]
            assert ["error", "written"] == sorted(first for first, _ in said)
            assert ["error", "75"] in said
            winner = [first for first, _ in said].index("written")
            assert tokens[winner].encode() == place.read()
    finally:
        for writer in writers:
            writer.communicate(timeout=10)
    assert [place.path.name] == place.names()


def test_a_writer_that_cannot_get_the_lock_says_so_in_time(place: Place) -> None:
    holder = os.open(place.folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        started = time.monotonic()
        error = failure(
            lambda: place.backend.write(
                place.ref, SecretValue(NEW.encode()), expected_version=None, timeout=0.2
            ),
            NEW,
        )
    finally:
        os.close(holder)
    assert (BackendUnavailableError, 75) == (type(error), error.exit_code)
    assert 0.2 <= time.monotonic() - started < 2
    place.write(NEW)
    assert NEW.encode() == place.read()
