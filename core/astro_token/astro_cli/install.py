"""Makes a release the user's program, in one step, never through a link, and only if it is the right one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from astro_token.astro_cli.archive import PROGRAM, unpack
from astro_token.astro_cli.cache import verified
from astro_token.astro_cli.download import save
from astro_token.astro_cli.release import archive_name, file_url, latest, published
from astro_token.astro_cli.temporary import beside
from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError, OutputError
from astro_token.system.files import locked, open_regular, others_can_write, owned, refuse_special, sweep
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["Installed", "install"]

_BLOCK = 1024 * 1024
# The last one is of the kernel's own file systems, where nothing can be made.
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})


@dataclass(frozen=True, slots=True)
class Installed:
    """
    Attributes:
        changed: False where the very same program was there.
    """

    path: Path
    version: str
    changed: bool


def install(
    version: str | None,
    platform: str,
    folder: Path,
    *,
    lock: Lock | None,
    environ: Mapping[str, str],
    seconds: float,
    told: Callable[[int, int | None], None],
) -> Installed:
    """
    Installs a release as `astro` in a folder, unless it is there.

    With a lock that has the digest nothing is asked for that the cache has;
    without one the checksum file always is, for what is in the cache could be something else.

    Args:
        version: None for the one of the lock, else the latest.
        told: as of `download.save`.

    Raises:
        OutputError: in the place of the program, or of its folder, is something else.
        AccessDeniedError: the folder cannot be written to.
        IntegrityError: a digest differs, or what comes is no release.
        ConfigError: the lock does not know the platform.
        as `download.read`, `download.save`, `release.published`, `release.latest`.
    """
    program = folder.absolute() / PROGRAM
    _refuse_early(program)
    deadline = Deadline(seconds)
    pinned = _pinned(lock, platform)
    version = version or (lock.version if lock else latest(environ, deadline))
    name = archive_name(version, platform)
    summed = None if pinned else _summed(version, platform, environ, deadline)

    def fetch(path: Path) -> str:
        if pinned and pinned != _summed(version, platform, environ, deadline):
            raise IntegrityError(
                f"the lock and the checksum file of release {version} disagree about {platform}",
                hint="find out which is wrong: the release was changed, or the lock; nothing was installed",
            )
        # An archive takes as long as it takes: what bounds it is silence, and the whole deadline.
        rest = Deadline(deadline.remaining, attempt=deadline.remaining)
        url = file_url(version, name, environ)
        return rest.retry(lambda left: save(url, path, environ, left, told))

    with verified(name, pinned or summed or "", fetch, patience=deadline.remaining) as archive:
        changed = not _is_there(program, archive)
        if changed:
            archive.seek(0)
            _put(program, archive, patience=deadline.remaining)
    return Installed(program, version, changed)


def _pinned(lock: Lock | None, platform: str) -> str | None:
    """The digest of the lock; None where it only names a version."""
    if lock is None or not lock.sha256:
        return None
    if platform in lock.sha256:
        return lock.sha256[platform]
    raise ConfigError(
        f"the lock has no digest for {platform}",
        hint=f"astro-token install-cli --version {lock.version} --lock prints it for all platforms",
    )


def _summed(version: str, platform: str, environ: Mapping[str, str], deadline: Deadline) -> str:
    """The digest of the checksum file."""
    known = published(version, environ, deadline).sha256
    if platform in known:
        return known[platform]
    raise IntegrityError(
        f"the checksum file of release {version} does not name an archive for {platform}",
        hint=f"it has {', '.join(known) or 'none that is known here'}: see the version",
    )


def _refuse_early(program: Path) -> None:
    """Before anything is fetched: what cannot be written need not be."""
    folder = program.parent
    try:
        mode = folder.stat().st_mode
    except NotADirectoryError:
        mode = stat.S_IFREG
    except FileNotFoundError:  # is made later
        return
    if not stat.S_ISDIR(mode):
        raise OutputError(f"{folder} is no folder", hint="name a folder with --to")
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise OutputError(
            f"{folder} can be written by everybody, who could put another program in the place of this one",
            hint=f"chmod o-w {folder}, or name another folder with --to",
        )
    refuse_special(program)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _read_only(folder)


def _is_there(program: Path, archive: IO[bytes]) -> bool:
    """True if the program of the archive is installed already, and can be run."""
    try:
        with open_regular(program) as file:
            # Whoever else can write it can change it later.
            if not owned(file) or others_can_write(file):
                return False
            if not os.access(program, os.X_OK) or program.is_symlink():
                return False
            there = hashlib.sha256()
            while block := file.read(_BLOCK):
                there.update(block)
    except OSError:
        return False
    wanted = hashlib.sha256()
    unpack(archive, wanted.update)
    return wanted.digest() == there.digest()


def _put(program: Path, archive: IO[bytes], *, patience: float) -> None:
    folder = program.parent
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with locked(folder, seconds=patience), beside(program) as temporary:
            refuse_special(program)
            sweep(program)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
            with os.fdopen(os.open(temporary, flags, 0o700), "wb") as file:
                unpack(archive, file.write)
                file.flush()
                if hasattr(os, "fchmod"):
                    os.fchmod(file.fileno(), 0o755)  # whatever the umask
                os.fsync(file.fileno())
            temporary.replace(program)
        return
    except (FileExistsError, NotADirectoryError):
        refusal: OutputError | AccessDeniedError = OutputError(
            f"{folder} is no folder", hint="name a folder with --to"
        )
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        refusal = _read_only(folder)
    raise refusal


def _read_only(folder: Path) -> AccessDeniedError:
    return AccessDeniedError(
        f"{folder} cannot be written to", hint="name a folder of your own with --to, or let it be written to"
    )
