"""Replace the user's `astro` by a verified release, in one step and never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import IO, TYPE_CHECKING

from astro_token.astro_cli.archive import PROGRAM, unpack
from astro_token.astro_cli.cache import verified
from astro_token.astro_cli.download import save
from astro_token.astro_cli.release import ATTEMPTS, archive_name, file_url, latest, published
from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError, OutputError
from astro_token.record import Record
from astro_token.system.files import (
    locked,
    open_regular,
    others_can_write,
    owned,
    refuse_special,
    sweep,
    temporary_beside,
)
from astro_token.system.os_errors import naming
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["Installed", "install"]

_BLOCK = 1024 * 1024
# ENOENT comes from file systems of the kernel, in which nothing can be created.
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})


class Installed(Record):
    """
    Attributes:
        changed: False if the same program was installed already.
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
    progress: Callable[[int, int | None], None],
) -> Installed:
    """
    Install a release as `astro` in a folder, unless the same program is installed there.

    If the project pins the digest, a cached archive needs no request;
    otherwise the checksum file is always fetched, because the cache could hold another file.

    Args:
        version: None for the pinned one, else the latest.
        progress: as for `download.save`.

    Raises:
        OutputError: the path of the program is not a regular file, or that of its folder not a folder.
        AccessDeniedError: the folder cannot be written to.
        IntegrityError: a digest differs, or the file is not a release.
        ConfigError: no digest is pinned for the platform.
        as `download.read`, `download.save`, `release.published`, `release.latest`.
    """
    program = folder.absolute() / PROGRAM
    _refuse_early(program)
    deadline = Deadline(seconds, attempts=ATTEMPTS)
    pinned = _pinned(lock, platform)
    version = version or (lock.version if lock else latest(environ, deadline))
    name = archive_name(version, platform)
    published_digest = None if pinned else _published_digest(version, platform, environ, deadline)

    def fetch(path: Path) -> str:
        if pinned and pinned != _published_digest(version, platform, environ, deadline):
            raise IntegrityError(
                f"the pinned digest and the checksum file of release {version} differ for {platform}",
                hint="find out if the release or astro-token.toml was changed; nothing was installed",
            )
        # Only silence and the whole deadline bound a download, not its duration.
        rest = Deadline(deadline.remaining, attempt=deadline.remaining, attempts=ATTEMPTS)
        url = file_url(version, name, environ)
        return rest.retry(lambda left: save(url, path, environ, left, progress))

    with verified(name, pinned or published_digest or "", fetch, patience=deadline.remaining) as archive:
        changed = not _is_installed(program, archive)
        if changed:
            archive.seek(0)
            _put(program, archive, patience=deadline.remaining)
    return Installed(program, version, changed)


def _pinned(lock: Lock | None, platform: str) -> str | None:
    """Return the pinned digest; None if only a version is pinned, or nothing."""
    if lock is None or not lock.sha256:
        return None
    if platform in lock.sha256:
        return lock.sha256[platform]
    raise ConfigError(
        f"[astro-cli] pins no digest for {platform}",
        hint=f"astro-token install-cli --version {lock.version} --lock prints it for all platforms",
    )


def _published_digest(version: str, platform: str, environ: Mapping[str, str], deadline: Deadline) -> str:
    digests = published(version, environ, deadline).sha256
    if platform in digests:
        return digests[platform]
    raise IntegrityError(
        f"the checksum file of release {version} does not name an archive for {platform}",
        hint=f"it names {', '.join(digests) or 'no supported platform'}: check the version",
    )


def _refuse_early(program: Path) -> None:
    """Check the path of the program before anything is fetched."""
    folder = program.parent
    try:
        mode = folder.stat().st_mode
    except NotADirectoryError:
        mode = stat.S_IFREG
    except FileNotFoundError:  # created later
        return
    if not stat.S_ISDIR(mode):
        raise OutputError(f"{folder} is not a folder", hint="name a folder with --to")
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise OutputError(
            f"every user of this machine can write to {folder}, and replace the program",
            hint=f"chmod o-w {folder}, or name another folder with --to",
        )
    refuse_special(program)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _read_only(folder)


def _is_installed(program: Path, archive: IO[bytes]) -> bool:
    """Compare the installed program with that in the archive; false also if it cannot be run."""
    try:
        with open_regular(program) as file:
            # Another user who can write it could change it later.
            if not owned(file) or others_can_write(file):
                return False
            if not os.access(program, os.X_OK) or program.is_symlink():
                return False
            installed = hashlib.sha256()
            while block := file.read(_BLOCK):
                installed.update(block)
    except OSError:
        return False
    expected = hashlib.sha256()
    unpack(archive, expected.update)
    return expected.digest() == installed.digest()


def _put(program: Path, archive: IO[bytes], *, patience: float) -> None:
    folder = program.parent
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with naming(program), locked(folder, seconds=patience), temporary_beside(program) as temporary:
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
            f"{folder} is not a folder", hint="name a folder with --to"
        )
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        refusal = _read_only(folder)
    raise refusal


def _read_only(folder: Path) -> AccessDeniedError:
    return AccessDeniedError(
        f"{folder} cannot be written to", hint="name another folder with --to, or change its permissions"
    )
