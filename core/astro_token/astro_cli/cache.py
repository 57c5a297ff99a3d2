"""
The archives that were fetched before, in the user's cache folder.

A cached archive is verified like a fetched one, through the open file that is then read.
Only one process at a time fetches; others wait, and use its archive.
The archives that were used last stay: each has some 60 MB, and projects move between few releases.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from astro_token.errors import IntegrityError
from astro_token.log import logger
from astro_token.system.files import locked, open_regular, others_can_write, owned, temporary_beside
from astro_token.system.os_errors import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["verified"]

_BLOCK = 1024 * 1024
_MAX_ARCHIVES = 3


@contextmanager
def verified(name: str, digest: str, fetch: Callable[[Path], str], *, patience: float) -> Iterator[IO[bytes]]:
    """
    Open the archive that has this digest, and fetch it if it is not cached.

    Args:
        fetch: writes it to a path, and returns its real digest.
        patience: seconds to wait for another process that fetches.

    Raises:
        IntegrityError: it has another digest, and is not kept.
        BackendUnavailableError: another process did not finish in time.
        OSError: it cannot be written.
        as `fetch`.
    """
    with ExitStack() as held:
        folder = held.enter_context(_folder())
        held.enter_context(locked(folder, seconds=patience))
        path = folder / name
        for abandoned in folder.glob(".astro_*.tmp"):  # by killed processes: we hold the lock
            abandoned.unlink()
        file = _opened(path, digest)
        if file is None:
            with temporary_beside(path) as temporary:
                if fetch(temporary) != digest:
                    raise _wrong(name)
                temporary.replace(path)
            _remove_oldest(folder)
            file = _opened(path, digest)
        if file is None:
            raise _wrong(name)
        yield held.enter_context(file)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield the cache folder, or a temporary one if there can be none."""
    folder = _user_folder()
    if folder is not None:
        yield folder
        return
    logger.debug("the cache folder cannot be written to")
    with naming("the folder for temporary files (TMPDIR)"):
        temporary = tempfile.TemporaryDirectory(prefix="astro-token-")
    with temporary as name:
        yield Path(name)


def _user_folder() -> Path | None:
    from platformdirs import user_cache_path

    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home, in containers
        folder = user_cache_path("astro-token", appauthor=False) / "astro-cli"
        if folder.is_absolute():  # older versions make a relative path of an empty home
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _opened(path: Path, digest: str) -> IO[bytes] | None:
    """Open a file if it has the digest, and no other user can change it while it is read."""
    try:
        file = open_regular(path)
    except OSError:
        return None
    read = hashlib.sha256()
    try:
        if owned(file) and not others_can_write(file):
            while block := file.read(_BLOCK):
                read.update(block)
            if read.hexdigest() == digest:
                with suppress(OSError):  # it belongs to root
                    os.utime(path)  # used last, and removed last
                file.seek(0)
                return file
    except OSError:
        logger.debug("%s cannot be read", path)
    file.close()
    logger.debug("%s has another digest, and is fetched again", path)
    return None


def _remove_oldest(folder: Path) -> None:
    """Call it under the lock, so that no process is about to open an archive."""
    archives = [(path.lstat().st_mtime_ns, path) for path in folder.glob("astro_*.tar.gz")]
    for _, path in sorted(archives)[:-_MAX_ARCHIVES]:
        with suppress(OSError):
            path.unlink()


def _wrong(name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} does not have the digest that is pinned or in the checksum file of its release",
        hint="nothing was installed; check the release server, and proxies between here and it",
    )
