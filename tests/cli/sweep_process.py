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
    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
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
        job = {"argv": argv, "environ": environ, "folder": str(folder), "stdin": stdin}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code, stdout, stderr = json.loads(self._process.stdout.readline())
        return code, stdout, stderr


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


def main() -> None:
    for name in ("check", "exec", "export", "put", "doctor", "install_cli"):
        __import__(f"astro_token.cli.{name}")
    __import__("astro_token.transport.client")
    for line in sys.stdin:
        job = json.loads(line)
        files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115 (closed below)
        files[0].write(job["stdin"].encode())
        files[0].seek(0)
        child = os.fork()
        if not child:
            _run(job, files)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in files[1:]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        for file in files:
            with suppress(OSError):
                file.close()
        print(json.dumps([status, *texts]), flush=True)


if __name__ == "__main__":
    main()
