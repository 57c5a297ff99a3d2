"""
A private, temporary `ASTRO_HOME` for one run of the Astro CLI.

The CLI writes the token in clear text to its home before it validates it, keeps using it after the variable
is gone, and reads organization and workspace of an earlier run from there.
So each run gets a home of its own: mode 0700, on a memory file system if there is one, removed afterwards.
The next run removes homes that a killed run left behind.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path

from astro_token.environment.cli_config import user_settings
from astro_token.errors import InputOutputError, OutputError
from astro_token.log import logger
from astro_token.system.files import others_can_rename_in
from astro_token.system.os_errors import LIMITS, reason
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from astro_token.environment.context import Context

__all__ = ["PrivateHome", "private_home"]

_PREFIX = "astro-token-home-"
_LOCK = ".astro-token-lock"
_CHILD = ".astro-token-child"
# A home is created and locked under this name, and then renamed. So a home without a lock is abandoned:
# the Astro CLI's telemetry creates such homes if it outlives us. An unfinished home is kept for a minute.
_UNFINISHED = "astro-token-unfinished-"
_UNFINISHED_SECONDS = 60


class PrivateHome:
    def __init__(self, path: Path) -> None:
        self.path = path

    def used_by(self, child: int) -> None:
        """Record the process that uses it, so that no other run removes it before that process ends."""
        with suppress(OSError):  # the child is running, and may have removed its home
            (self.path / _CHILD).write_text(f"{child} {_started(child)}")


@contextmanager
def private_home(context: Context, environ: Mapping[str, str]) -> Iterator[PrivateHome]:
    """
    Create the home with a context and the user's other settings, and remove it at the end.

    It is created in the first safe folder that has space for it.

    Raises:
        OutputError: no folder is safe for it.
        InputOutputError: it cannot be created.
    """
    text = _seed(context, user_settings(environ))
    complaints = {folder: _why_unsafe(folder) for folder in _parent_folders(environ)}
    folders = [folder for folder, complaint in complaints.items() if not complaint]
    for folder in folders:  # also those that an earlier run used because another one was full
        _sweep(folder)
    failure = None
    for folder in folders:
        # The names are chosen before the folders exist, so that a signal at any moment leaves nothing behind.
        name = f"{_user()}-{os.urandom(16).hex()}"
        unfinished, home = folder / f"{_UNFINISHED}{name}", PrivateHome(folder / f"{_PREFIX}{name}")
        lock = None
        try:
            try:
                lock = _create(unfinished, home.path, text)
            except OSError as error:
                complaints[folder], failure = reason(error), error
                continue
            yield home
            return
        finally:
            remove(unfinished)
            remove(home.path)
            if lock is not None:
                os.close(lock)
    causes = "; ".join(f"{folder}: {complaint}" for folder, complaint in complaints.items())
    message = f"a private home can be created in no folder: {causes}"
    hint = "set TMPDIR to a folder that has space and that only you can write to"
    if failure is None:
        raise OutputError(message, hint=hint)
    raise InputOutputError(message, hint=LIMITS.get(failure.errno or 0, hint))


def _create(unfinished: Path, home: Path, text: str) -> int:
    """Create the home, and return its lock."""
    unfinished.mkdir(0o700)
    lock = _lock(unfinished / _LOCK, os.O_CREAT | os.O_EXCL)
    try:
        unfinished.rename(home)
        settings = home / ".astro"
        settings.mkdir(0o700)
        descriptor = os.open(settings / "config.yaml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        os.close(lock)
        raise
    return lock


def remove(path: Path) -> None:
    """Remove a home, even if the child made its folders unwritable."""
    from shutil import rmtree

    for _ in range(3):  # a detached child, such as the CLI's telemetry, may still be writing
        rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        _make_writable(path)
        for parent, names, _ in os.walk(path):  # goes down into a folder only after this
            for name in names:
                _make_writable(Path(parent, name))
    logger.warning("the private home %s could not be removed", path)


def _make_writable(folder: Path) -> None:
    if not folder.is_symlink():  # the target of a link is not ours
        with suppress(OSError):
            folder.chmod(0o700)


def _parent_folders(environ: Mapping[str, str]) -> Iterable[Path]:
    """List folders on memory file systems, then those for temporary files, but never the working folder."""
    names = ["XDG_RUNTIME_DIR", "/dev/shm", "RUNNER_TEMP", "TMPDIR", "/tmp", "/var/tmp"]  # noqa: S108 (see _why_unsafe)
    paths = [name if name.startswith("/") else setting(environ, name) for name in names]
    return dict.fromkeys(Path(path) for path in paths if path)


def _why_unsafe(folder: Path) -> str:
    """Return the reason why other users could exchange a home in a folder; "" for none."""
    if not folder.is_absolute():
        return "a relative path"
    try:
        status = folder.stat()
    except OSError as error:
        return reason(error)
    if not stat.S_ISDIR(status.st_mode):
        return "not a folder"
    if status.st_uid not in {_user(), 0}:
        return "belongs to another user"
    return "other users can rename files in it" if others_can_rename_in(folder) else ""


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


# -- homes of killed runs ---------------------------------------------------------------------------


def _sweep(folder: Path) -> None:
    beginnings = tuple(f"{prefix}{_user()}-" for prefix in (_PREFIX, _UNFINISHED))
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (a folder for temporary files can be huge)
            if name.startswith(beginnings) and _abandoned(path := folder / name):
                logger.debug("removing an abandoned home, %s", path)
                remove(path)


def _abandoned(path: Path) -> bool:
    """Test for a home of this user that neither its run nor its child uses."""
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
    except OSError:  # removed in the meantime, or locked by its run
        return False
    return True


def _lock(path: Path, flags: int = 0) -> int:
    """Lock a file until this process ends; `BlockingIOError` if another process holds it."""
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
    # A dead process stays listed if process 1 does not reap it, as in many containers.
    return _started(int(child)) == started and _stat(int(child), 0) != "Z"


def _started(process: int) -> str:
    """Return the start time of a process in clock ticks. Unlike the number, it is never reused."""
    return _stat(process, 19)


def _stat(process: int, column: int) -> str:
    """Read a column of /proc/PID/stat, counted from the process's name; "" if it is missing."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[column]
    except (OSError, IndexError):
        return ""


# -- the content of a home --------------------------------------------------------------------------


def _seed(context: Context, settings: Mapping[str, str | tuple[str, ...]]) -> str:
    """Render the CLI's config.yaml. JSON strings are YAML strings, so no value can change its structure."""
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
    import json

    for key, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{json.dumps(key)}:\n"
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{json.dumps(key)}: {json.dumps(value)}\n"
