"""
The rule for programs that may be started.

A checkout is other people's input: its pull requests may bring a `git` or an `az` of their own.
Programs are therefore taken from folders of PATH that are absolute and outside the checkout.
ASTRO_TOKEN_PROGRAM_FOLDERS lists folders inside it that are accepted, such as that of a virtual environment.
The checkout is the repository of the working folder; without a repository, an Astro project.
"""

from __future__ import annotations

import os
from _thread import _local  # threading would be imported for its name only
from contextlib import contextmanager, suppress
from functools import cache, wraps

from astro_token.errors import ConfigError
from astro_token.record import Record
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    StrPath = str | os.PathLike[str]

__all__ = [
    "PROGRAM_FOLDERS",
    "Search",
    "checkout_of",
    "find_program",
    "in_checkout",
    "lies_in",
    "listed_folders",
    "listed_paths",
    "repository_of",
    "search_path",
    "settle_platform",
    "trusted_path",
    "trusted_programs",
    "why_missing",
]

PROGRAM_FOLDERS = "ASTRO_TOKEN_PROGRAM_FOLDERS"


# -- the checkout -------------------------------------------------------------------------------------


def repository_of(folder: StrPath) -> str | None:
    """Return the nearest folder from here upwards that is a repository, without starting git."""
    here = os.path.abspath(folder)  # noqa: PTH100
    while not os.path.lexists(os.path.join(here, ".git")):  # noqa: PTH118
        above = os.path.dirname(here)  # noqa: PTH120
        if above == here:
            return None
        here = above
    return here


def checkout_of(folder: StrPath, environ: Mapping[str, str]) -> str | None:
    """Return the repository of a folder, else the folder itself if it is an Astro project."""
    root = repository_of(folder)
    home = _identities([setting(environ, "HOME")])  # it holds the CLI's own configuration
    if root is None and not home & _identities([folder]):
        project = os.path.join(folder, ".astro", "config.yaml")  # noqa: PTH118
        root = os.fspath(folder) if os.path.isfile(project) else None  # noqa: PTH113
    return root


def lies_in(path: StrPath, folders: Iterable[StrPath]) -> bool:
    """True if a path lies in one of the folders, by its name or after following links."""
    return bool(_identities_above(path) & _identities(folders))


def listed_folders(environ: Mapping[str, str], variable: str) -> list[str]:
    """
    Return the folders that a variable lists.

    Raises:
        ConfigError: one of them is relative.
    """
    return listed_paths(environ, variable, "folder")


def listed_paths(environ: Mapping[str, str], variable: str, kind: str) -> list[str]:
    """
    Return the paths that a variable lists.

    Args:
        kind: of the paths, for the message.

    Raises:
        ConfigError: one of them is relative.
    """
    paths = [path for path in setting(environ, variable).split(os.pathsep) if path]
    if not all(map(os.path.isabs, paths)):
        raise ConfigError(
            f"{variable} contains a relative {kind}", hint=f"list absolute {kind}s, separated by {os.pathsep}"
        )
    return paths


def in_checkout(path: StrPath, environ: Mapping[str, str], roots: Iterable[StrPath] = ()) -> bool:
    """
    True if a path lies in the checkout, and not in an accepted folder of it.

    Args:
        roots: further folders that count as the checkout.

    Raises:
        ConfigError: ASTRO_TOKEN_PROGRAM_FOLDERS is not a list of absolute folders.
    """
    return _checkout_test(environ, roots)(path)


def _checkout_test(environ: Mapping[str, str], roots: Iterable[StrPath]) -> Callable[[StrPath], bool]:
    """Return `in_checkout` for many paths: what is the same for all of them is read once."""
    accepted = _identities(listed_folders(environ, PROGRAM_FOLDERS))
    checkouts = list(roots)
    with suppress(OSError):  # the working folder was removed
        checkouts += filter(None, [checkout_of(os.getcwd(), environ)])  # noqa: PTH109
    inside = _identities(checkouts)

    def is_inside(path: StrPath) -> bool:
        above = _identities_above(path) if inside else set()
        return bool(above & inside) and not above & accepted

    return is_inside


def _identities_above(path: StrPath) -> set[tuple[int, int]]:
    """Return the identities of a path and of all folders above it, by its name and after following links."""
    above: set[StrPath] = set()
    for name in (os.path.abspath(path), os.path.realpath(path)):  # noqa: PTH100
        while name not in above:
            above.add(name)
            name = os.path.dirname(name)  # noqa: PLW2901, PTH120
    return _identities(above)


def _identities(paths: Iterable[StrPath]) -> set[tuple[int, int]]:
    """Device and inode: file systems may ignore case, and have several names for a folder."""
    identities = set()
    for path in paths:
        with suppress(OSError, ValueError):
            status = os.stat(path)  # noqa: PTH116
            identities.add((status.st_dev, status.st_ino))
    return identities


# -- finding a program --------------------------------------------------------------------------------


class Search(Record):
    """
    Attributes:
        path: the first executable file of this name; None if there is none.
        not_executable: the first file of this name, if all of them cannot be run.
    """

    path: str | None
    not_executable: str | None = None


def search_path(name: str, environ: Mapping[str, str]) -> Search:
    """Search the absolute folders of PATH for a program, also those in the checkout."""
    return _search(name, _absolute_folders(environ))


def find_program(name: str, environ: Mapping[str, str], *, roots: Iterable[StrPath] = ()) -> str | None:
    """
    Return the path of a program that may be started; None if PATH has none outside the checkout.

    Args:
        name: may be a path, which must be absolute.
        roots: further folders that count as the checkout.

    Raises:
        ConfigError: ASTRO_TOKEN_PROGRAM_FOLDERS is not a list of absolute folders.
    """
    if os.path.dirname(name):  # noqa: PTH120
        path = _search(name, [""]).path if os.path.isabs(name) else None  # noqa: PTH117
        return None if path is None or in_checkout(path, environ, roots) else path
    # The folder too: a link in the checkout can lead anywhere.
    is_inside = _checkout_test(environ, roots)
    paths = (_search(name, [folder]).path for folder in _absolute_folders(environ) if not is_inside(folder))
    return next((path for path in paths if path and not is_inside(path)), None)


def why_missing(name: str, environ: Mapping[str, str]) -> str:
    """Return the predicate of a message about a program that `find_program` did not find."""
    return "is on PATH only in the checkout" if search_path(name, environ).path else "is not on PATH"


def trusted_path(environ: Mapping[str, str], roots: Iterable[StrPath] = ()) -> str:
    """Return PATH without folders that are relative or in the checkout."""
    # An empty PATH would mean the working folder.
    is_inside = _checkout_test(environ, roots)
    folders = [folder for folder in _absolute_folders(environ) if not is_inside(folder)]
    return os.pathsep.join(folders) or os.devnull


class _Caller(_local):
    """
    The state of a thread.

    Attributes:
        is_sdk: its programs are those of an SDK.
    """

    is_sdk = False


_caller = _Caller()


@contextmanager
def trusted_programs() -> Iterator[None]:
    """
    Restrict the programs that this thread starts to trusted folders, while an SDK runs.

    `os.environ` stays as it is, because other threads may belong to a program that uses us as a library.
    """
    if _caller.is_sdk or trusted_path(os.environ) == os.environ.get("PATH", os.defpath):
        yield
        return
    _restrict_popen()
    _caller.is_sdk = True
    try:
        yield
    finally:
        _caller.is_sdk = False


@cache
def _restrict_popen() -> None:
    """Replace the constructor of `subprocess.Popen`: SDKs start their programs with it."""
    import errno
    import inspect
    import subprocess

    original = subprocess.Popen.__init__
    signature = inspect.signature(original)

    @wraps(original)
    def init(*given: Any, **named: Any) -> None:
        if not _caller.is_sdk:
            return original(*given, **named)
        call = signature.bind(*given, **named)
        options = call.arguments
        environ = os.environ if options.get("env") is None else options["env"]
        options["env"] = {**environ, "PATH": trusted_path(environ)}
        if not options.get("shell"):
            argv = options["args"]
            first = options.get("executable") or (
                argv if isinstance(argv, str | bytes | os.PathLike) else argv[0]
            )
            name = os.fsdecode(first)
            # An SDK may have searched PATH itself, and then the checkout, too.
            path = find_program(name, environ) or find_program(os.path.basename(name), environ)  # noqa: PTH119
            if path is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            options["executable"] = path
        return original(*call.args, **call.kwargs)

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]


def settle_platform() -> None:
    """
    Keep `platform` from starting `uname` to learn the processor, as `platform.platform()` does.

    SDKs call it for their user agents, with every credential in the environment of that program.
    """
    import platform

    if os.name == "posix":
        vars(platform.uname()).setdefault("processor", "")  # it caches its property here


def _absolute_folders(environ: Mapping[str, str]) -> list[str]:
    folders = (setting(environ, "PATH") or os.defpath).split(os.pathsep)
    return [folder for folder in folders if os.path.isabs(folder)]  # noqa: PTH117


def _search(name: str, folders: Iterable[str]) -> Search:
    suffixes = [""] if os.name == "posix" else os.environ.get("PATHEXT", ".EXE").split(os.pathsep)
    not_executable = None
    for folder in folders:
        for suffix in suffixes:
            path = os.path.join(folder, name + suffix)  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                if os.access(path, os.X_OK):
                    return Search(path)
                not_executable = not_executable or path
    return Search(None, not_executable)
