"""
The rule for programs that may be started, and a bounded run of one of them.

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
    import subprocess
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    StrPath = str | os.PathLike[str]

__all__ = [
    "PROGRAM_FOLDERS",
    "Completed",
    "Search",
    "checkout_of",
    "end_running",
    "find_program",
    "in_checkout",
    "lies_in",
    "listed_folders",
    "listed_paths",
    "repository_of",
    "run_program",
    "search_path",
    "settle_platform",
    "trusted_path",
    "trusted_programs",
    "why_missing",
]

PROGRAM_FOLDERS = "ASTRO_TOKEN_PROGRAM_FOLDERS"

_PAUSE = 100  # milliseconds
_PIECE = 65536


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


# -- running a program --------------------------------------------------------------------------------


_running: set[subprocess.Popen[bytes]] = set()


def end_running() -> None:
    """Kill the programs that run when this process ends, for example because a signal ended it."""
    for process in tuple(_running):
        _kill(process)


class Completed(Record):
    """
    Attributes:
        code: the exit status; None if the program was killed.
        output: at most as much as was allowed.
        late: it was killed because the time was over.
        too_long: it was killed because of its output's length.
    """

    code: int | None
    output: bytes
    late: bool = False
    too_long: bool = False

    _hidden = ("output",)


def run_program(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    seconds: float,
    limit: int,
    folder: StrPath | None = None,
    data: bytes | None = None,
) -> Completed | None:
    """
    Run a program to its end, with its standard error dropped, and kill whatever it started.

    Args:
        argv: begins with a path from `find_program`.
        environ: all that the program gets; its PATH comes from `trusted_path`.
        limit: bytes of output. A program with more is killed, unless it was given data:
            then the rest is read and dropped.
        data: for standard input, which is empty otherwise.

    Returns:
        None if the program cannot be started.
    """
    import subprocess

    try:
        process = subprocess.Popen(
            argv,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with _ended_within(process, seconds) as late:
        output = _exchange(process, late, limit, data)
        too_long = len(output) > limit and data is None
        if too_long:
            _kill(process)
    _kill(process)  # what it left behind, which may have closed the output
    killed = too_long or late.is_set()
    return Completed(None if killed else process.returncode, output[:limit], late.is_set(), too_long)


@contextmanager
def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Wait for the program's end. When the time is over it is killed, and the event set."""
    import threading

    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(max(0.0, seconds), end)
    _running.add(process)
    try:
        with process:
            try:
                timer.start()  # fails if no thread can be started
                yield late
            except BaseException:  # a signal to us, which must not wait for the program's end
                _kill(process)
                raise
    finally:
        _running.discard(process)
        timer.cancel()


def _exchange(
    process: subprocess.Popen[bytes], late: threading.Event, limit: int, data: bytes | None
) -> bytes:
    """
    Write the data, and read what the program prints until its end, and at most one byte more than the limit.

    A program that is given data may print before it has read all of it: the output is read to its end.
    A program's own children can outlive it and keep its output open: they are killed if they can be found,
    and not waited for.
    """
    output = bytearray()
    if process.stdout is None:
        return b""
    if os.name != "posix":  # only sockets can be polled
        import threading

        threading.Thread(target=_write, args=(process, data), daemon=True).start()
        output += process.stdout.read(limit + 1)
        while data is not None and process.stdout.read(limit + 1):
            pass
        return bytes(output)
    import select

    pipe = process.stdout.fileno()
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    unwritten = memoryview(data or b"")
    if process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
        waiting.register(process.stdin.fileno(), select.POLLOUT)
    while not late.is_set() and (data is not None or len(output) <= limit):
        ended = process.poll() is not None
        ready = {number for number, _ in waiting.poll(0 if ended else _PAUSE)}
        if process.stdin is not None and process.stdin.fileno() in ready:
            try:
                unwritten = unwritten[os.write(process.stdin.fileno(), unwritten[:_PIECE]) :]
            except BrokenPipeError:  # it does not read all of it
                unwritten = unwritten[:0]
            if not unwritten:
                waiting.unregister(process.stdin.fileno())
                process.stdin.close()
                process.stdin = None
        if pipe in ready:
            piece = os.read(pipe, _PIECE)
            output += piece[: limit + 1 - len(output)]
            if not piece:
                break
        elif ended and not ready:
            _kill(process)  # what it left behind
            break
    return bytes(output)


def _write(process: subprocess.Popen[bytes], data: bytes | None) -> None:
    if process.stdin is not None and data is not None:
        with suppress(OSError):
            process.stdin.write(data)
            process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    import signal

    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
