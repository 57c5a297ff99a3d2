"""
Archives that were fetched before, in the user's cache folder.

What comes out of it is verified like what comes over the network,
through the one open file that is then read.
Only one process at a time fetches; others wait, and find it.
A few archives stay, those that were used last: each is some 60 MB, and projects move between few releases.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from astro_token.astro_cli.temporary import beside
from astro_token.errors import IntegrityError
from astro_token.log import logger
from astro_token.system.files import locked, open_regular, others_can_write, owned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["verified"]

_BLOCK = 1024 * 1024
_KEPT = 3


@contextmanager
def verified(name: str, digest: str, fetch: Callable[[Path], str], *, patience: float) -> Iterator[IO[bytes]]:
    """
    An archive whose content has this digest.

    Args:
        fetch: writes it to a path, and returns what its digest really is.
        patience: seconds to wait for another process that fetches.

    Raises:
        IntegrityError: it has another digest; nothing of it is kept.
        BackendUnavailableError: another process did not come to an end.
        OSError: there is no place for it.
        as `fetch`.
    """
    with ExitStack() as held:
        folder = held.enter_context(_folder())
        held.enter_context(locked(folder, seconds=patience))
        path = folder / name
        for left in folder.glob(".astro_*.tmp"):  # by kills, for we are alone here
            left.unlink()
        file = _opened(path, digest)
        if file is None:
            with beside(path) as temporary:
                if fetch(temporary) != digest:
                    raise _wrong(name)
                temporary.replace(path)
            _forget_all_but_the_last(folder)
            file = _opened(path, digest)
        if file is None:
            raise _wrong(name)
        yield held.enter_context(file)


@contextmanager
def _folder() -> Iterator[Path]:
    """The cache's folder; where there can be none, one that is gone after the block."""
    folder = _of_the_user()
    if folder is not None:
        yield folder
        return
    logger.debug("there is no cache folder that can be written to")
    with tempfile.TemporaryDirectory(prefix="astro-token-") as name:
        yield Path(name)


def _of_the_user() -> Path | None:
    from platformdirs import user_cache_path

    with suppress(OSError, RuntimeError):  # a RuntimeError is a user without a home, as containers have them
        folder = user_cache_path("astro-token", appauthor=False) / "astro-cli"
        if folder.is_absolute():  # older versions make a relative path of an empty home
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _opened(path: Path, digest: str) -> IO[bytes] | None:
    """The file, if it is whole and nobody else can change it while it is read."""
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
                with suppress(OSError):  # where it is root's
                    os.utime(path)  # used, and so the last to be forgotten
                file.seek(0)
                return file
    except OSError:
        logger.debug("%s cannot be read", path)
    file.close()
    logger.debug("%s is not what is wanted, and is fetched again", path)
    return None


def _forget_all_but_the_last(folder: Path) -> None:
    """Of the archives; to be called under the lock, so that nobody is about to open one."""
    found = [(path.lstat().st_mtime_ns, path) for path in folder.glob("astro_*.tar.gz")]
    for _, path in sorted(found)[:-_KEPT]:
        with suppress(OSError):
            path.unlink()


def _wrong(name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} has not the digest that the checksum file of its release says",
        hint="nothing was installed; see what is between here and the release server, and the server itself",
    )
