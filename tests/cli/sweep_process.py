"""
Run the program in forked copies of one process, which has loaded its modules: a run takes milliseconds.

    with Forks() as forks:
        code, stdout, stderr = forks.run(["check", "env:TOKEN"], {"TOKEN": "…"}, folder)

Only loopback can be reached. `identity` in place of a command prints the identity token of the CI job.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT = 20  # seconds for a run


class Forks:
    """
    Args:
        modules: loaded before the first run.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *self._modules],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            pass  # the end of its input ends it

    def run(
        self, argv: Sequence[str], environ: Mapping[str, str], folder: Path, stdin: str = ""
    ) -> tuple[int, str, str]:
        """The exit status, standard output and standard error."""
        return self.run_all([(argv, environ)], folder, stdin)[0]

    def run_all(
        self, jobs: Sequence[tuple[Sequence[str], Mapping[str, str]]], folder: Path, stdin: str = ""
    ) -> list[tuple[int, str, str]]:
        """Run several at a time, each with its arguments and environment."""
        assert self._process.stdin
        assert self._process.stdout
        given = [
            {"argv": argv, "environ": environ, "folder": str(folder), "stdin": stdin}
            for argv, environ in jobs
        ]
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        return [
            (code, stdout, stderr) for code, stdout, stderr in json.loads(self._process.stdout.readline())
        ]


def only_loopback() -> None:
    connect = socket.socket.connect

    def guarded(connection: socket.socket, address: Any) -> None:
        if connection.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            raise OSError(errno.ENETUNREACH, "only the test's own server can be reached")
        connect(connection, address)

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]


def _run(job: dict[str, Any], files: Sequence[IO[bytes]]) -> NoReturn:
    from astro_token.cli import run

    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, "w" if number else "r", closefd=False) for number in range(3)
    )
    os.environ.clear()
    os.environ.update(job["environ"])
    os.chdir(job["folder"])
    signal.alarm(LIMIT)
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


def main(modules: Sequence[str]) -> None:
    for name in ("check", "exec", "export", "put", "doctor", "install_cli"):
        __import__(f"astro_token.cli.{name}")
    __import__("astro_token.transport.client")
    for name in modules:
        __import__(name)
    for line in sys.stdin:
        running = [_start(job) for job in json.loads(line)]
        print(json.dumps([_ended(*one) for one in running]), flush=True)


def _start(job: dict[str, Any]) -> tuple[int, Sequence[IO[bytes]]]:
    files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115 (closed at the end)
    files[0].write(job["stdin"].encode())
    files[0].seek(0)
    child = os.fork()
    if not child:
        _run(job, files)
    return child, files


def _ended(child: int, files: Sequence[IO[bytes]]) -> tuple[object, ...]:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = []
    for file in files[1:]:
        file.seek(0)
        texts.append(file.read().decode(errors="replace"))
    for file in files:
        with suppress(OSError):
            file.close()
    return status, *texts


if __name__ == "__main__":
    main(sys.argv[1:])
