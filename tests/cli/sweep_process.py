"""
Run the program in forked copies of one process, which has loaded its modules: a run takes milliseconds.

    with Forks() as forks:
        code, stdout, stderr = forks.run(["check", "env:TOKEN"], {"TOKEN": "…"}, folder)

`identity` in place of a command prints the identity token of the CI job.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = str(Path(__file__).parents[2])
LIMIT = 20  # seconds for a run in a sweep


class Forks:
    """
    Args:
        modules: are loaded before the first run, as those of all commands are.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self._jobs, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # The name of the program is for who looks at command lines.
                [sys.executable, "-m", __name__, "astro-token", str(theirs.fileno()), *self._modules],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": _ROOT},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.close()  # this ends it
        self._process.wait()

    def start(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        streams: Sequence[int],
        *,
        limit: int = 0,
    ) -> Fork:
        """
        Start the program.

        Args:
            streams: standard input, standard output and standard error.
            limit: seconds for the run, in which only loopback can be reached; 0 for no limits.
        """
        job = {"argv": argv, "environ": dict(environ), "folder": str(folder), "limit": limit}
        reading, writing = os.pipe()
        status = os.fdopen(reading, "rb", buffering=0)
        with self._one_at_a_time:
            try:
                line = json.dumps(job).encode() + b"\n"
                sent = socket.send_fds(self._jobs, [line], [*streams, writing])
                self._jobs.sendall(line[sent:])
            finally:
                os.close(writing)  # so that reading ends if the process that forks does
            return Fork(status)

    def run(
        self, argv: Sequence[str], environ: Mapping[str, str], folder: Path, stdin: str = ""
    ) -> tuple[int, str, str]:
        """The exit status, standard output and standard error."""
        return self.run_all([(argv, environ)], folder, stdin)[0]

    def run_all(
        self, jobs: Sequence[tuple[Sequence[str], Mapping[str, str]]], folder: Path, stdin: str = ""
    ) -> list[tuple[int, str, str]]:
        """Run several at a time, each with its arguments and environment. Only loopback can be reached."""
        running = []
        for argv, environ in jobs:
            files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115 (closed at the end)
            files[0].write(stdin.encode())
            files[0].seek(0)
            streams = [file.fileno() for file in files]
            running.append((self.start(argv, environ, folder, streams, limit=LIMIT), files))
        return [(fork.wait(), *_contents(files)) for fork, files in running]


def _contents(files: Sequence[IO[bytes]]) -> tuple[str, str]:
    texts = []
    for file in files[1:]:
        file.seek(0)
        texts.append(file.read().decode(errors="replace"))
    for file in files:
        file.close()
    return texts[0], texts[1]


class Fork:
    """A run of the program. Its process is not a child of ours."""

    def __init__(self, status: IO[bytes]) -> None:
        self._status = status
        self.pid = self._number()

    def wait(self) -> int:
        """Its exit status, as `subprocess` has it."""
        with self._status:
            return self._number()

    def _number(self) -> int:
        line = self._status.readline()
        assert line, "the process that forks has ended"
        return int(line)

    def communicate(self, data: bytes, streams: Sequence[int], *, timeout: float) -> tuple[int, bytes, bytes]:
        """
        Its exit status, and all that comes from its two outputs. It is killed when the time is over.

        Args:
            data: for its standard input.
            streams: our ends of the three pipes, which are closed.
        """
        end = time.monotonic() + timeout
        pending = memoryview(data)
        received: dict[int, bytearray] = {stream: bytearray() for stream in streams[1:]}
        with selectors.DefaultSelector() as selector:
            for number, stream in enumerate(streams):
                selector.register(stream, selectors.EVENT_READ if number else selectors.EVENT_WRITE)
            os.set_blocking(streams[0], False)
            while selector.get_map():
                ready = selector.select(max(end - time.monotonic(), 0))
                if not ready:
                    self._give_up(timeout)
                for key, _ in ready:
                    stream = key.fd
                    if stream in received:
                        part = os.read(stream, 1 << 16)
                        received[stream] += part
                        is_over = not part
                    else:
                        pending = _written(stream, pending)
                        is_over = not pending
                    if is_over:
                        selector.unregister(stream)
                        os.close(stream)
        if not select.select([self._status], [], [], max(end - time.monotonic(), 0))[0]:
            self._give_up(timeout)
        stdout, stderr = (bytes(content) for content in received.values())
        return self.wait(), stdout, stderr

    def _give_up(self, timeout: float) -> NoReturn:
        os.kill(self.pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired("astro-token", timeout)


def _written(stream: int, data: memoryview) -> memoryview:
    """Write what the pipe takes at once. Return the rest; if there is no reader, nothing is left."""
    with suppress(BrokenPipeError):
        return data[os.write(stream, data) if data else 0 :]
    return data[:0]


def only_loopback() -> None:
    connect = socket.socket.connect

    def guarded(connection: socket.socket, address: Any) -> None:
        if connection.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            raise OSError(errno.ENETUNREACH, "only the test's own server can be reached")
        connect(connection, address)

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]


def _run(job: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    from astro_token.cli import run

    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # As Python opens them at its start.
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["environ"])
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    time.tzset()
    os.chdir(job["folder"])
    if job["limit"]:
        signal.alarm(job["limit"])
        only_loopback()
    if job["argv"] == ["identity"]:
        _print_identity()
    sys.argv = ["astro-token", *job["argv"]]
    run()


def _print_identity() -> NoReturn:
    from astro_token.ci.identity import ci_identity
    from astro_token.errors import AstroTokenError

    code = 0
    try:
        token = ci_identity("https://vault.example", timeout=5)
        print("a token" if token else "none")
    except AstroTokenError as error:
        code = error.exit_code
        print(error.message, error.hint, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# What most runs load of others.
OF_OTHERS = (
    *("_ctypes", "calendar", "dataclasses", "decimal", "email.message", "email.parser", "encodings.idna"),
    *("encodings.utf_8_sig", "http.client", "importlib.metadata", "importlib.resources", "logging"),
    *("platformdirs", "pyrage", "resource", "ssl", "string", "termios", "tomllib", "traceback"),
    *("unicodedata", "xml.etree.ElementTree"),
)


def _load(modules: Sequence[str]) -> None:
    """Load our modules, and only the SDK of Vault: the others make each copy slower."""
    from astro_token.system.sdk_imports import allow_placeholders

    allow_placeholders()
    for package in ("astro_token", "astro_token_backends.file", "astro_token_backends.vault"):
        loaded = importlib.import_module(package)
        for module in pkgutil.walk_packages(loaded.__path__, f"{package}."):
            if module.name != "astro_token.__main__":  # which runs the program
                importlib.import_module(module.name)
    backends = importlib.import_module("astro_token_backends")
    packages = [module.name for module in pkgutil.iter_modules(backends.__path__, f"{backends.__name__}.")]
    for name in (*OF_OTHERS, *packages, *modules):
        importlib.import_module(name)


def main(jobs: socket.socket, modules: Sequence[str]) -> None:
    import gc

    _load(modules)
    gc.freeze()  # so that a copy's collections do not copy all of the memory
    ended, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([jobs.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 512)
            _tell_ended(running)
        if jobs.fileno() in ready:
            line, streams, _, _ = socket.recv_fds(jobs, 1 << 20, 4)
            if not line:
                return
            while not line.endswith(b"\n"):
                line += jobs.recv(1 << 20)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run(json.loads(line), streams)
            for stream in streams[:3]:
                os.close(stream)
            running[child] = streams[3]
            os.write(streams[3], b"%d\n" % child)


def _tell_ended(running: dict[int, int]) -> None:
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with suppress(BrokenPipeError):
            os.write(running[child], b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(running.pop(child))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
