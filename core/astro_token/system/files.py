"""
Open, replace and append to files that hold or name secrets.

Writing never follows a link, and never leaves a partial file.
Checks that a system does not support (owners and flags on Windows) are left out.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from astro_token.errors import BackendUnavailableError, OutputError
from astro_token.system.os_errors import naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = [
    "anybody_can_write",
    "append",
    "create",
    "create_all",
    "is_of_another_user",
    "locked",
    "open_regular",
    "others_can_read",
    "others_can_rename_in",
    "others_can_write",
    "owned",
    "read_credential",
    "refuse_special",
    "remove",
    "replace",
    "sweep",
    "temporary_beside",
]

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_NOCTTY = getattr(os, "O_NOCTTY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_LOCK_PAUSE = 0.02
_APPEND_SECONDS = 5.0
_LONGEST_CREDENTIAL = 1 << 20


def open_regular(path: Path | str) -> IO[bytes]:
    """
    Open a file to read, following links, without waiting as for a FIFO.

    Raises:
        IsADirectoryError: it is a folder, a FIFO, a socket or a device.
        OSError: as `open`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _CLOEXEC | _NONBLOCK | _NOCTTY | _BINARY)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a socket
            raise
        descriptor = -1
    if descriptor < 0:
        raise IsADirectoryError
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError
    return io.BufferedReader(_NeverWaiting(descriptor))


def read_credential(path: Path | str) -> bytes:
    """
    Read the file of a credential.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is longer than 1 MiB.
    """
    with open_regular(path) as file:
        data = file.read(_LONGEST_CREDENTIAL + 1)
    if len(data) > _LONGEST_CREDENTIAL:
        raise ValueError
    return data


class _NeverWaiting(io.FileIO):
    """A file that raises `BlockingIOError` in place of returning None, as `/proc/kmsg` makes it do."""

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count


def owned(file: IO[bytes] | Path) -> bool:
    """True if the file or folder belongs to us or to root."""
    status = file.stat() if isinstance(file, os.PathLike) else os.fstat(file.fileno())
    return not hasattr(os, "geteuid") or status.st_uid in {os.geteuid(), 0}


def is_of_another_user(status: os.stat_result) -> bool:
    """True if a file is not ours to write. Root writes any."""
    return hasattr(os, "geteuid") and os.geteuid() not in {status.st_uid, 0}


def others_can_write(file: IO[bytes]) -> bool:
    """True if the group or others may write."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def anybody_can_write(file: IO[bytes]) -> bool:
    """True if every user of the machine may write. Secrets are often mounted for a group."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & stat.S_IWOTH)


def others_can_read(file: IO[bytes]) -> bool:
    """True if every user of the machine may read. Secrets are often mounted for a group."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)


def others_can_rename_in(folder: Path) -> bool:
    """True if the group or others may replace or move away the files of a folder."""
    mode = folder.stat().st_mode
    writable = os.name == "posix" and bool(mode & (stat.S_IWGRP | stat.S_IWOTH))
    return writable and not mode & stat.S_ISVTX


@contextmanager
def locked(folder: Path, *, seconds: float) -> Iterator[None]:
    """
    Lock a folder for users of this function, without a lock file.

    Raises:
        BackendUnavailableError: another process held the lock all the time.
        OSError: no such folder, no permission.
    """
    if os.name != "posix":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
    try:
        with _exclusive(descriptor, seconds):
            yield
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """
    Write a file that only we may read (0600), completely or not at all.

    Also after a kill or a power failure the file has either the old or the new content.

    Raises:
        OutputError: the path is a link, or not a regular file.
        OSError: no such folder, no space, no permission. It names the path.
    """
    refuse_special(path)
    with naming(path), _temporary(path, data) as temporary:
        temporary.replace(path)


def create(path: Path, data: bytes) -> None:
    """
    Write a new file as `replace` does.

    Raises:
        OutputError: it exists.
        OSError: no such folder, no space, no permission.
    """
    exists = False
    with naming(path), _temporary(path, data) as temporary:
        try:
            _link(temporary, path)
        except FileExistsError:
            exists = True
    if exists:
        raise OutputError(f"{path} exists", hint="remove it first, or name another file")


def create_all(files: Mapping[Path, bytes]) -> None:
    """
    Write new files that everybody may read (0644), and their folders (0755): all of them or none.

    Raises:
        OutputError: one of them exists.
        OSError: no space, no permission.
    """
    made: list[Path] = []
    try:
        with ExitStack() as temporaries:
            ready = []
            for path, data in files.items():
                for folder in reversed([each for each in path.parents if not each.exists()]):
                    folder.mkdir()
                    made.append(folder)
                    folder.chmod(0o755)  # ours is the umask of a process with secrets
                with naming(path):
                    temporary = temporaries.enter_context(_temporary(path, data))
                    temporary.chmod(0o644)
                ready.append((temporary, path))
            for temporary, path in ready:
                with naming(path):
                    _link(temporary, path)
                made.append(path)
        return
    except FileExistsError as error:
        _remove(made)
        name = error.filename
    except BaseException:
        _remove(made)
        raise
    raise OutputError(f"{name} exists", hint="run the command again: it does not replace files")


def _remove(paths: list[Path]) -> None:
    """Remove files and folders that we have made, the last one first."""
    for path in reversed(paths):
        with suppress(OSError):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()


def _link(temporary: Path, path: Path) -> None:
    """
    Give the file its name.

    Raises:
        FileExistsError: another file has it.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        # A file system without hard links: the name is reserved first, and then replaced.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW, 0o600))
        temporary.replace(path)


def remove(path: Path) -> None:
    """Remove a file for good, also after a power failure. One that does not exist is removed."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def sweep(path: Path) -> None:
    """
    Remove temporary files that killed processes left beside a file.

    Call it under `locked`, which every writer of that file holds; otherwise it could remove a file in use.
    """
    form = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208 (a Path for each of thousands of files takes long)
            if form.fullmatch(name):
                (path.parent / name).unlink()


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """
    Yield the name of a temporary file that is to replace the path, and remove it after the block.

    `sweep` removes it if the process is killed.
    """
    temporary = path.parent / f".{path.name}.{os.urandom(8).hex()}.tmp"
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """Write a complete file beside the path, and remove it after the block."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW | _BINARY
    with temporary_beside(path) as temporary:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    _sync(path.parent)


def append(path: Path, data: bytes) -> None:
    """
    Append to an existing file in one write, or leave it unchanged.

    Raises:
        OutputError: it is missing, a link, not a regular file, another user's, or has a second name.
        OSError: no space, no permission.
    """
    refuse_special(path)
    descriptor = failed = -1
    try:  # it may have been replaced meanwhile: by a FIFO, for which we would wait
        descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | _CLOEXEC | _NOFOLLOW | _NONBLOCK | _NOCTTY | _BINARY
        )
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENXIO, errno.ELOOP}:
            raise
        failed = error.errno
    if failed == errno.ENOENT:
        raise OutputError(
            f"{path} does not exist",
            hint="do not set its variable yourself: the CI system sets it, and creates the file",
        )
    if descriptor < 0:
        raise OutputError(f"{path} is not a regular file", hint="name a regular file")
    with naming(path), os.fdopen(descriptor, "ab", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{path} is not a regular file", hint="name a regular file")
        if status.st_nlink != 1:
            raise OutputError(f"{path} has a second name", hint="name a file without hard links")
        if is_of_another_user(status):
            raise OutputError(f"{path} belongs to another user", hint="name a file of your own")
        with _exclusive(descriptor, _APPEND_SECONDS):
            start = os.fstat(descriptor).st_size
            try:
                written = file.write(data)
                if written != len(data):
                    raise OSError(28, "No space left on device")
            except BaseException:
                os.ftruncate(descriptor, start)
                raise


def refuse_special(path: Path) -> None:
    """
    Refuse to write to anything but a regular file.

    Raises:
        OutputError: the path is a link, or not a regular file.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise OutputError(f"{path} is a link", hint="name the file itself: the target of a link can change")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path} is not a regular file", hint="name a regular file")


@contextmanager
def _exclusive(descriptor: int, seconds: float) -> Iterator[None]:
    """
    Lock an open file for users of this function, until it is closed.

    Raises:
        BackendUnavailableError: another process held the lock all the time.
    """
    if os.name == "posix":
        import fcntl

        end = time.monotonic() + seconds
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() >= end:
                raise BackendUnavailableError(
                    "another process has locked the file or folder", hint="try again when it is done"
                )
            time.sleep(_LOCK_PAUSE)
    yield


def _sync(folder: Path) -> None:
    """Make the new name in the folder durable. Some file systems do not support it; the file is complete."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
