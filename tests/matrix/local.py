"""
One cell of a backend of this machine: a command of ours meets a fault of a program or of a keyring.

All commands run at a time, in forked copies of one process.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.testing import appearances
from tests.conftest import below

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.cli.sweep_process import Forks

__all__ = ["COMMANDS", "Run", "Surroundings", "faulty"]

AT_A_TIME = 8
OTHER = "OTHER"  # a variable with a good token
MARK = "MATRIX_MARK"  # a variable of whatever a run starts
COMMANDS = ("export", "exec", "check", "check two", "check --format json", "doctor", "chain", "chain, later")


@dataclass(frozen=True)
class Run:
    """
    Attributes:
        ref: a reference whose read meets the fault.
        code: the exit status of a command that needs the token; 0 if the fault does not matter.
        also: other ones that are right, if the fault is noticed at one of several places.
        environ: the variables that lead to the fault.
        continues: a chain continues with its next reference.
        slow: the fault lasts until the deadline.
        escapes: what it starts leaves its process group, and is not found again.
    """

    name: str
    ref: str
    code: int
    environ: Mapping[str, str] = field(repr=False)
    continues: bool = False
    slow: bool = False
    escapes: bool = False
    also: tuple[int, ...] = ()


@dataclass
class Surroundings:
    """
    Attributes:
        folder: contains the home, the working folder and that of temporary files.
        token: behind the references.
        other: a good token elsewhere.
    """

    folder: Path
    forks: Forks
    token: str = field(repr=False)
    other: str = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("home", "work", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)

    def mark(self, run: Run) -> str:
        return f"{self.folder}|{run.name}"

    def leaks(self, text: str) -> bool:
        return any(appearances(canary, text) for canary in (self.token, self.other))

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def environ(self, run: Run) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            OTHER: self.other,
            MARK: self.mark(run),
            **({"ASTRO_TOKEN_TIMEOUT": "1"} if run.slow or run.code == 75 else {}),
            **run.environ,
        }


def faulty(around: Surroundings, cells: Sequence[tuple[Run, str]]) -> list[str]:
    """Run a command for each cell, and say what is wrong with the results."""
    wrong = []
    for start in range(0, len(cells), AT_A_TIME):
        part = cells[start : start + AT_A_TIME]
        jobs = [(_arguments(run, command), around.environ(run)) for run, command in part]
        results = around.forks.run_all(jobs, around.work, stdin=around.token)
        for (run, command), result in zip(part, results, strict=True):
            wrong += [f"{run.name}, {command}: {text}" for text in _complaints(run, command, result, around)]
        for run, _ in part:
            if run.escapes:
                _end(around.mark(run))
        wrong += _left(around)
    return wrong


def _arguments(run: Run, command: str) -> list[str]:
    touch = ("--", "/bin/sh", "-c", 'printf %s "${ASTRO_API_TOKEN:+given}"')
    return {
        "export": ["export", "--format", "value", run.ref],
        "exec": ["--log-level", "debug", "exec", run.ref, *touch],
        "check": ["check", run.ref],
        "check two": ["--log-level", "debug", "check", "--format", "json", run.ref, f"env:{OTHER}"],
        "check --format json": ["check", "--format", "json", run.ref],
        "put": ["put", run.ref],
        "doctor": ["doctor", "--offline", "--format", "json", run.ref],
        "chain": ["export", "--format", "value", f"{run.ref},env:{OTHER}"],
        "chain, later": ["--log-level", "debug", "exec", f"env:NOT_SET,{run.ref},env:{OTHER}", *touch],
    }[command]


def _complaints(run: Run, command: str, result: tuple[int, str, str], around: Surroundings) -> Iterable[str]:
    code, stdout, stderr = result
    expected = 0 if run.continues and command.startswith("chain") else run.code
    if code not in {expected, *run.also}:
        yield f"exit code {code} in place of {expected}: {stderr}"
    shown = command in {"export", "chain"} and not expected
    for what, text in {"standard error": stderr, **({} if shown else {"standard output": stdout})}.items():
        if around.leaks(text):
            yield f"a value on {what}"
    if "Traceback" in stderr:
        yield "a traceback"
    if command in {"export", "exec"} or command.startswith("chain"):
        printed = (
            "given" if "exec" in _arguments(run, command) else around.other if run.code else around.token
        )
        if stdout != ("" if expected else printed):
            yield f"its output is {stdout[:9]!r}"
    if command in {"check two", "check --format json"}:
        yield from _of_document(stdout, run)
    lines = [line for line in stderr.splitlines() if not line.startswith("astro-token: debug: ")]
    if code and command in {"export", "exec", "check", "put", "chain", "chain, later"}:
        if command == "put":  # it says first until when the token is valid
            lines = [line for line in lines if "the token expires" not in line]
        names = [line.split(": ")[1] for line in lines]
        if names != ["error", "hint"]:
            yield f"its messages are {lines}"
        elif f"error: {run.ref}: " not in lines[0]:
            yield f"its message does not begin with the reference: {lines[0]}"
    elif not code and any(": error:" in line for line in lines):
        yield f"it reports {lines}"


def _of_document(stdout: str, run: Run) -> Iterable[str]:
    """One faulty reference changes nothing for another."""
    try:
        first, *others = json.loads(stdout)["tokens"]
    except (ValueError, KeyError):
        yield f"its document is {stdout[:99]!r}"
        return
    error = first["error"] or {"exit_code": 0, "message": run.ref, "hint": "none"}
    if (
        error["exit_code"] not in {run.code, *run.also}
        or not error["message"].startswith(run.ref)
        or not error["hint"]
    ):
        yield f"its document says {error}"
    if any(other["status"] != "ok" for other in others):
        yield "another backend is affected"


def _left(around: Surroundings) -> Iterable[str]:
    """Processes, and files with a value."""
    end = time.monotonic() + 20  # one that is killed is gone a moment later
    while running := _running(str(around.folder)):
        if time.monotonic() > end:
            yield f"left running: {[(process / 'cmdline').read_text() for process in running]}"
            break
        time.sleep(0.01)
    for folder in (around.folder / "home", around.work, around.folder / "tmp"):
        for path in below(folder):
            text = f"{path.name} {path.read_bytes().decode('latin-1') if path.is_file() else ''}"
            if around.leaks(text):
                yield f"a value in {path}"


def _end(mark: str) -> None:
    for process in _running(mark):
        os.kill(int(process.name), signal.SIGKILL)


def _running(mark: str) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append(process)
    return found
