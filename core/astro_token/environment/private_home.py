"""
A private, throw-away `ASTRO_HOME` for one run of the Astro CLI.

The CLI writes the token in clear to its home before it checks it, goes on using it after the variable is
gone, and takes organization and workspace from what an earlier run left there.
So each run gets a home of its own: 0700, on a memory file system where there is one, removed afterwards.
Homes that a kill left behind are removed by the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.environment.cli_config import user_settings
from astro_token.errors import OutputError
from astro_token.log import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astro_token.environment.context import Context

__all__ = ["PrivateHome", "private_home"]

_PREFIX = "astro-token-home-"
_LOCK = ".astro-token-lock"
_CHILD = ".astro-token-child"
# A home gets its lock before its name, so one without a lock is abandoned: the Astro CLI's telemetry
# makes one when it outlives us. Under this name it is being made, and left alone for a minute.
_UNFINISHED = "astro-token-unfinished-"
_UNFINISHED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PrivateHome:
    path: Path

    def used_by(self, child: int) -> None:
        """Says which process uses it, so that it is not removed under a child that outlives us."""
        with suppress(OSError):  # the child runs already, and may have removed its home
            (self.path / _CHILD).write_text(f"{child} {_started(child)}")


@contextmanager
def private_home(context: Context, environ: Mapping[str, str]) -> Iterator[PrivateHome]:
    """
    Makes the home, seeded with a context and the user's settings that are no context, and removes it.

    Raises:
        OSError: no place for it.
    """
    folder = _place(environ)
    _sweep(folder)
    # Its name is known before it is there, so that a signal at any moment leaves nothing behind.
    name = f"{_user()}-{os.urandom(16).hex()}"
    unfinished, home = folder / f"{_UNFINISHED}{name}", PrivateHome(folder / f"{_PREFIX}{name}")
    lock = None
    try:
        unfinished.mkdir(0o700)
        lock = _lock(unfinished / _LOCK, os.O_CREAT | os.O_EXCL)
        unfinished.rename(home.path)
        settings = home.path / ".astro"
        settings.mkdir(0o700)
        text = _seed(context, user_settings(environ))
        descriptor = os.open(settings / "config.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield home
    finally:
        remove(unfinished)
        remove(home.path)
        if lock is not None:
            os.close(lock)


def remove(path: Path) -> None:
    """Removes a home, also where the child made its folders unwritable."""
    for _ in range(3):  # a detached child, such as the CLI's telemetry, may still be writing
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        _open_up(path)
        for parent, names, _ in os.walk(path):  # goes down into a folder only after this
            for name in names:
                _open_up(Path(parent, name))
    logger.warning("the private home %s could not be removed", path)


def _open_up(folder: Path) -> None:
    if not folder.is_symlink():  # what a link points at is not ours
        with suppress(OSError):
            folder.chmod(0o700)


def _place(environ: Mapping[str, str]) -> Path:
    """A folder in memory where there is one, else where temporary files go."""
    wanted = (environ.get("XDG_RUNTIME_DIR"), "/dev/shm", environ.get("RUNNER_TEMP"))  # noqa: S108 (see _safe)
    for name in wanted:
        if name and _safe(Path(name)):
            return Path(name)
    last = Path(tempfile.gettempdir()).absolute()
    if _safe(last):
        return last
    raise OutputError(
        "there is no safe place for a private home: anybody can rename what is in the temporary folder",
        hint="set TMPDIR to a folder that only you can write to",
    )


def _safe(folder: Path) -> bool:
    """True if nobody else can put another folder in the place of ours there."""
    try:
        status = folder.stat()
    except OSError:
        return False
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return (
        folder.is_absolute()
        and stat.S_ISDIR(status.st_mode)
        and status.st_uid in {_user(), 0}
        and (not others or bool(status.st_mode & stat.S_ISVTX))
        and os.access(folder, os.W_OK | os.X_OK)
    )


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


# -- homes that a kill left behind ------------------------------------------------------------------


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for path in (*folder.glob(f"{_PREFIX}{_user()}-*"), *folder.glob(f"{_UNFINISHED}{_user()}-*")):
            if _abandoned(path):
                logger.debug("removing an abandoned home, %s", path)
                remove(path)


def _abandoned(path: Path) -> bool:
    """True for a home of ours that neither its run nor its child uses."""
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != _user():
            return False
        if path.name.startswith(_UNFINISHED):
            import time

            return time.time() - status.st_mtime > _UNFINISHED_SECONDS
        with suppress(FileNotFoundError):
            lock = _lock(path / _LOCK)
            try:
                return not _child_lives(path / _CHILD)
            finally:
                os.close(lock)
    except OSError:  # gone meanwhile, or held by the run that made it
        return False
    return True


def _lock(path: Path, flags: int = 0) -> int:
    """
    Lock a file until this process ends, however it ends.

    Raises:
        BlockingIOError: another process holds it.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _child_lives(note: Path) -> bool:
    try:
        child, _, started = note.read_text().partition(" ")
        with suppress(PermissionError):  # it lives, as another user
            os.kill(int(child), 0)
    except (OSError, ValueError):
        return False
    # One that is dead stays listed where process 1 does not reap, as in many a container.
    return _started(int(child)) == started and _stat(int(child), 0) != "Z"


def _started(process: int) -> str:
    """When a process started, in the system's count: its number may be used again, this is not."""
    return _stat(process, 19)


def _stat(process: int, column: int) -> str:
    """A column of what the system tells of a process, from the one after its name on; else nothing."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[column]
    except (OSError, IndexError):
        return ""


# -- what is in it ----------------------------------------------------------------------------------


def _seed(context: Context, settings: Mapping[str, str | tuple[str, ...]]) -> str:
    """
    Write the CLI's own config.yaml. JSON strings are YAML strings, so nothing can break out of its place.

    Args:
        settings: by dotted key.
    """
    entries = {
        "domain": context.domain,
        "organization": context.organization,
        "workspace": context.workspace,
        "last_used_workspace": context.workspace,
    }
    tree: dict[str, Any] = {
        "context": context.domain,
        "contexts": {
            context.domain.replace(".", "_"): {name: text for name, text in entries.items() if text}
        },
    }
    for key, value in settings.items():
        *sections, last = key.split(".")
        below = tree
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value
    return "".join(_lines(tree, ""))


def _lines(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{json.dumps(key)}:\n"
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{json.dumps(key)}: {json.dumps(value)}\n"
