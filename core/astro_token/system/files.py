"""
Files that hold secrets, or say where they are: opened, replaced and appended to without surprises.

Writing never goes through a link, and never leaves half of anything.
Where a system lacks an ownership or a flag (Windows), that check is left out.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from astro_token.errors import BackendUnavailableError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "anybody_can_write",
    "append",
    "create",
    "locked",
    "open_regular",
    "others_can_read",
    "others_can_write",
    "owned",
    "refuse_special",
    "replace",
    "sweep",
]

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_NOCTTY = getattr(os, "O_NOCTTY", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_LOCK_PAUSE = 0.02
_APPEND_SECONDS = 5.0


def open_regular(path: Path) -> IO[bytes]:
    """
    Opens a file to read, following links, and never waits as a FIFO would let it.

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
    return os.fdopen(descriptor, "rb")


def owned(file: IO[bytes]) -> bool:
    """True if the file is ours or root's."""
    return not hasattr(os, "geteuid") or os.fstat(file.fileno()).st_uid in {os.geteuid(), 0}


def others_can_write(file: IO[bytes]) -> bool:
    """True if group or others may write."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def anybody_can_write(file: IO[bytes]) -> bool:
    """True if every user of the machine may write; a group is often what a secret is mounted for."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & stat.S_IWOTH)


def others_can_read(file: IO[bytes]) -> bool:
    """True if others may read; a group is often what a secret is mounted for."""
    return os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)


@contextmanager
def locked(folder: Path, *, seconds: float) -> Iterator[None]:
    """
    Keeps others that use this function out of a folder, and leaves nothing in it.

    Raises:
        BackendUnavailableError: it was locked all this time.
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


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace(path: Path, data: bytes) -> None:
    """
    Writes a file that only we may read (0600), as a whole or not at all.

    At any moment, also after a kill or a power failure, the file holds either the old content or the new.

    Raises:
        OutputError: it is a link, or no regular file.
        OSError: no such folder, no space, no permission.
    """
    refuse_special(path)
    with _temporary(path, data) as temporary:
        temporary.replace(path)


def create(path: Path, data: bytes) -> None:
    """
    As `replace`, for a file that must not exist.

    Raises:
        OutputError: it exists.
        OSError: no such folder, no space, no permission.
    """
    exists = False
    with _temporary(path, data) as temporary:
        try:
            _link(temporary, path)
        except FileExistsError:
            exists = True
    if exists:
        raise OutputError(f"{path} exists", hint="remove it first, or name another file")


def _link(temporary: Path, path: Path) -> None:
    """
    Gives the file its name, unless that is taken.

    Raises:
        FileExistsError: it is.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        # A file system without hard links: the name is taken first, and then what it names is exchanged.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW, 0o600))
        temporary.replace(path)


def sweep(path: Path) -> None:
    """
    Removes what a kill of an earlier `replace` or `create` left beside a file.

    To be called under `locked`, where all who write that file hold it: else it could be another one's work.
    """
    form = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError):
        for left in path.parent.iterdir():
            if form.fullmatch(left.name):
                left.unlink()


@contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A whole file beside the path, on disk before the block and gone after it."""
    temporary = path.parent / f".{path.name}.{os.urandom(8).hex()}.tmp"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC | _NOFOLLOW | _BINARY, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()
    _sync(path.parent)


def append(path: Path, data: bytes) -> None:
    """
    Appends to a file that exists, in one write, or leaves it as it was.

    Raises:
        OutputError: it is missing, a link, no regular file, another user's, or has a second name.
        OSError: no space, no permission.
    """
    refuse_special(path)
    descriptor = failed = -1
    try:  # it may have become something else meanwhile: a FIFO would let us wait
        descriptor = os.open(
            path, os.O_WRONLY | os.O_APPEND | _CLOEXEC | _NOFOLLOW | _NONBLOCK | _NOCTTY | _BINARY
        )
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENXIO, errno.ELOOP}:
            raise
        failed = error.errno
    if failed == errno.ENOENT:
        raise OutputError(
            f"{path} does not exist", hint="the CI system makes it: do not set its variable yourself"
        )
    if descriptor < 0:
        raise OutputError(f"{path} is no regular file", hint="name a regular file")
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OutputError(f"{path} is no regular file", hint="name a regular file")
        if status.st_nlink != 1:
            raise OutputError(f"{path} has a second name", hint="write to a file of its own")
        if hasattr(os, "geteuid") and os.geteuid() not in {status.st_uid, 0}:
            raise OutputError(f"{path} belongs to another user", hint="write to a file of your own")
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
    Raises:
        OutputError: the path is a link, or something that is no regular file.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise OutputError(f"{path} is a link", hint="name the file itself: what a link points at can change")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path} is no regular file", hint="name a regular file")


@contextmanager
def _exclusive(descriptor: int, seconds: float) -> Iterator[None]:
    """
    Keeps others that use this function out of an open file; closing it ends that.

    Raises:
        BackendUnavailableError: it was locked all this time.
    """
    if os.name == "posix":
        end = time.monotonic() + seconds
        while not _lock(descriptor):
            if time.monotonic() >= end:
                raise BackendUnavailableError(
                    "another process holds the file or folder that is to be written",
                    hint="try again when it is done",
                )
            time.sleep(_LOCK_PAUSE)
    yield


def _sync(folder: Path) -> None:
    """Makes the new name in the folder last. Some file systems cannot; the file is whole all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
