"""Files are opened, replaced and appended to without surprises."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError, OutputError
from astro_token.system import files
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRITERS: list[Callable[[Path, bytes], None]] = [files.replace, files.create]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "file"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# -- opening ----------------------------------------------------------------------------------------


def test_a_regular_file_is_opened_through_links_and_not_inherited(path: Path, folder: Path) -> None:
    path.write_bytes(b"content")
    (folder / "link").symlink_to("file")
    with files.open_regular(folder / "link") as file:
        assert b"content" == file.read()
        assert os.get_inheritable(file.fileno()) is False


def test_what_is_no_regular_file_is_refused_without_waiting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    os.mkfifo("fifo")
    (folder / "folder").mkdir()
    before = open_descriptors()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in ("fifo", "folder", "socket", "/dev/null"):
            with pytest.raises(IsADirectoryError):
                files.open_regular(folder / name)
    assert before == open_descriptors(), "a descriptor was left open"


def test_a_file_that_has_nothing_yet_raises_an_error_and_is_not_waited_for() -> None:
    """`/proc/kmsg` is such a regular file; a pipe stands for it."""
    source, target = os.pipe()
    os.set_blocking(source, False)
    with io.BufferedReader(files._NeverWaiting(source)) as file, pytest.raises(BlockingIOError):
        file.read(10)
    os.close(target)


def test_the_file_of_a_credential_is_read_as_it_is_up_to_its_limit(path: Path) -> None:
    for data in (b"", b" a certificate may be binary \xff\n", b"x" * (1 << 20)):
        path.write_bytes(data)
        assert data == files.read_credential(path)
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(ValueError, match=r"^$"):
        files.read_credential(path)
    with pytest.raises(IsADirectoryError):
        files.read_credential("/dev/zero")


def test_what_is_missing_is_missing(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.open_regular(path)


@pytest.mark.parametrize(
    ("permissions", "readable", "writable"),
    [
        (0o600, False, False),
        (0o640, False, False),
        (0o644, True, False),
        (0o620, False, True),
        (0o602, False, True),
        (0o666, True, True),
    ],
)
def test_what_others_may_do_is_told(path: Path, permissions: int, readable: bool, writable: bool) -> None:
    path.touch()
    path.chmod(permissions)
    with path.open("rb") as file:
        assert (readable, writable) == (files.others_can_read(file), files.others_can_write(file))


def test_a_file_is_owned_by_us_or_root_and_by_nobody_else(path: Path) -> None:
    path.touch()
    with path.open("rb") as file:
        assert files.owned(file)
        if os.geteuid() == 0:
            os.chown(path, 65534, -1)
            assert not files.owned(file)


# -- replacing and creating -------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_new_file_is_ours_alone_whatever_the_umask(
    path: Path, folder: Path, write: Callable[[Path, bytes], None], mask: int
) -> None:
    with umask(mask):
        write(path, b"new")
    assert (b"new", 0o600) == (path.read_bytes(), mode(path))
    assert ["file"] == names(folder)
    assert 1 == path.stat().st_nlink


def test_a_file_that_is_replaced_gets_our_mode_and_leaves_its_other_names_alone(
    path: Path, folder: Path
) -> None:
    path.write_bytes(b"old")
    path.chmod(0o644)
    (folder / "other").hardlink_to(path)
    files.replace(path, b"new")
    assert (b"new", 0o600) == (path.read_bytes(), mode(path))
    assert b"old" == (folder / "other").read_bytes()


def test_a_file_that_is_there_is_not_created(path: Path, folder: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(OutputError) as raised:
        files.create(path, b"new")
    assert (b"old", ["file"]) == (path.read_bytes(), names(folder))
    assert None is raised.value.__context__


def test_of_several_new_files_all_are_written_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [folder / name for name in ("a", "new/deep/b", "new/c", "d")]
    texts = {path: path.name.encode() for path in paths}
    paths[-1].write_bytes(b"old")
    with pytest.raises(OutputError, match="d exists"):
        files.create_all(texts)
    assert (["d"], b"old") == (names(folder), paths[-1].read_bytes())
    paths[-1].unlink()
    link, count = files._link, iter(range(4))

    def interrupted(temporary: Path, path: Path) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        link(temporary, path)

    monkeypatch.setattr(files, "_link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.create_all(texts)
    assert [] == names(folder)
    monkeypatch.undo()
    files.create_all(texts)
    assert texts == {path: path.read_bytes() for path in paths}
    assert {0o644} == {path.stat().st_mode & 0o777 for path in paths}
    assert ["a", "d", "new"] == names(folder)


def test_of_many_that_create_a_file_at_once_one_does(path: Path, folder: Path) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def create(number: int) -> None:
        barrier.wait(60)
        try:
            files.create(path, str(number).encode())
        except OutputError:
            outcomes.append("refused")
        else:
            outcomes.append(str(number))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = [outcome for outcome in outcomes if outcome != "refused"]
    assert (8, winner) == (len(outcomes), path.read_text())
    assert ["file"] == names(folder)


@pytest.mark.parametrize("write", WRITERS)
def test_nothing_goes_through_a_link(path: Path, folder: Path, write: Callable[[Path, bytes], None]) -> None:
    (folder / "target").write_bytes(b"old")
    for target in ("target", "nowhere"):
        path.symlink_to(target)
        with pytest.raises(OutputError):
            write(path, b"new")
        assert path.is_symlink()
        path.unlink()
    assert b"old" == (folder / "target").read_bytes()
    assert ["target"] == names(folder)


def test_what_is_no_regular_file_is_not_replaced(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OutputError):
        files.replace(path, b"new")
    assert path.is_fifo()


@pytest.mark.parametrize("write", ["replace", "create", "append"])
def test_a_full_disk_changes_nothing_and_leaves_nothing(path: Path, folder: Path, write: str) -> None:
    if write != "create":
        path.write_bytes(b"old")
    code = (
        "import resource, sys, pathlib\n"
        "from astro_token.system import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    getattr(files, sys.argv[1])(pathlib.Path(sys.argv[2]), b'x' * 2000)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error.filename)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, write, path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (f"OSError {path}\n", "") == (done.stdout, done.stderr)  # not the temporary file
    assert ([] if write == "create" else ["file"]) == names(folder)
    if write != "create":
        assert b"old" == path.read_bytes()


# -- appending --------------------------------------------------------------------------------------


def test_what_is_appended_follows_what_was_there_and_keeps_the_mode(path: Path) -> None:
    path.write_bytes(b"old\n")
    path.chmod(0o644)
    files.append(path, b"new\n")
    assert (b"old\nnew\n", 0o644) == (path.read_bytes(), mode(path))


def test_nothing_is_appended_to_what_is_missing_or_has_another_name(path: Path, folder: Path) -> None:
    with pytest.raises(OutputError):
        files.append(path, b"new")
    assert [] == names(folder)
    (folder / "target").write_bytes(b"old")
    path.symlink_to("target")
    with pytest.raises(OutputError):
        files.append(path, b"new")
    path.unlink()
    path.hardlink_to(folder / "target")
    with pytest.raises(OutputError):
        files.append(path, b"new")
    assert b"old" == path.read_bytes()


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_what_becomes_something_else_after_the_look_is_refused_at_once(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """To open a FIFO would wait for a reader; the link's target would get it."""
    (folder / "target").write_bytes(b"old")
    look = files.refuse_special

    def looked_then_changed(path: Path) -> None:
        look(path)
        os.mkfifo(path) if kind == "fifo" else path.symlink_to("target")

    monkeypatch.setattr(files, "refuse_special", looked_then_changed)
    raised: list[BaseException] = []

    def append() -> None:
        try:
            files.append(path, b"new")
        except OutputError as error:
            raised.append(error)

    thread = threading.Thread(target=append, daemon=True)
    thread.start()
    thread.join(60)
    assert (False, [f"{path} is not a regular file"]) == (thread.is_alive(), [str(error) for error in raised])
    assert (b"old", None) == ((folder / "target").read_bytes(), raised[0].__context__)


def test_a_fifo_that_has_a_reader_is_no_regular_file_either(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(path)
    monkeypatch.setattr(files, "refuse_special", lambda _: None)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError, match="is not a regular file"):
        files.append(path, b"new")
    assert b"" == os.read(reader, 100)
    os.close(reader)


def test_nothing_is_appended_to_another_users_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        files.append(path, b"new")
    assert b"old" == path.read_bytes()


def test_nothing_is_appended_while_another_process_holds_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_APPEND_SECONDS", 0.1)
    path.write_bytes(b"old")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackendUnavailableError):
            files.append(path, b"new")
        assert b"old" == path.read_bytes()
    files.append(path, b"new")
    assert b"oldnew" == path.read_bytes()


# -- locks, and what a kill leaves ------------------------------------------------------------------


def test_a_lock_keeps_others_out_until_it_is_given_back_and_leaves_no_file(folder: Path) -> None:
    order = []

    def second() -> None:
        with files.locked(folder, seconds=10):
            order.append("second")

    with files.locked(folder, seconds=1):
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.1)
        order.append("first")
    other.join(60)
    assert ["first", "second"] == order
    assert [] == names(folder)


def test_a_lock_that_is_held_is_waited_for_no_longer_than_told(folder: Path) -> None:
    with files.locked(folder, seconds=1):
        with (
            within(0.1, at_least=0.1),
            pytest.raises(BackendUnavailableError) as raised,
            files.locked(folder, seconds=0.1),
        ):
            raise AssertionError("it was locked twice")
        assert None is raised.value.__context__
    with files.locked(folder, seconds=0):
        pass


def test_a_lock_is_given_back_where_the_work_fails(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.locked(folder, seconds=1):
        raise ZeroDivisionError
    with files.locked(folder, seconds=0):
        pass


def test_what_kills_left_beside_a_file_is_swept_and_nothing_else_is(path: Path, folder: Path) -> None:
    number = "0123456789abcdef"
    kept = ["file", ".file.tmp", f".file.{number}", f".other.{number}.tmp", f".fileX{number}.tmp"]
    for name in (*kept, f".file.{number}.tmp"):
        (folder / name).touch()
    files.sweep(path)
    assert sorted(kept) == names(folder)


def test_what_is_swept_has_the_names_that_writing_gives(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(names(folder)))
    files.replace(path, b"new")
    (left,) = {name for name in seen if name != "file"}
    (folder / left).touch()
    files.sweep(path)
    assert ["file"] == names(folder)
