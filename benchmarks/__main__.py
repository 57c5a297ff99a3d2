"""
The tool against the smallest script that does the same with the bare SDK. `make bench` runs it.

Each line is a ratio of medians, taken in turns in one run: whatever else the machine does hits both alike.
Only ratios are worth comparing between machines.
CPU time is user and system time of whole processes; wall time is that of many tokens against one,
over a wire on which a request takes 50 ms longer. Instructions are counted if valgrind is installed:
they do not depend on the load of the machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.testing import make_token
from benchmarks import mask, program
from benchmarks.latency import longer_wire
from benchmarks.services import HERE, PROGRAM, PYTHON, SERVICES, Service

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 64
LATENCY = 0.05
PRINTED_BLOCKS = 10  # for `mask`
TRUE = "/bin/true"


def cpu_seconds(command: list[str], environ: dict[str, str]) -> float:
    """User and system time of a process and of all it waited for."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def instructions(command: list[str], environ: dict[str, str]) -> float:
    """Count the user instructions of a process, in billions, up to the command that replaces it."""
    counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environ = {**environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([*counter, *command], env=environ, capture_output=True, text=True, check=False)
    counted = re.search(r"I *refs: *([\d,]+)", done.stderr)
    if counted is None:
        raise SystemExit(f"{command[0]} was not counted: it ended with {done.returncode}")
    return int(counted[1].replace(",", "")) / 1e9


def wall_seconds(command: list[str], environ: dict[str, str]) -> float:
    start = time.monotonic()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def compare(
    name: str,
    commands: tuple[list[str], list[str]],
    environ: dict[str, str],
    *,
    runs: int,
    goal: str = "",
    measure: Callable[[list[str], dict[str, str]], float] = cpu_seconds,
    unit: str = "ms",
) -> None:
    """Print the ratio of the first to the second."""
    commands = tuple([part.format_map(environ) for part in command] for command in commands)  # type: ignore[assignment]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for command, taken in zip(commands, times, strict=True):
            taken.append(measure(command, environ))
    one, other = (statistics.median(taken) for taken in times)
    goal = f"goal {goal}" if goal else ""
    print(
        f"{name:<46} {one / other:5.2f}   {one * 1000:6.1f} / {other * 1000:6.1f} {unit}   {goal}".rstrip(),
        flush=True,
    )


def compare_cpu(service: Service, environ: dict[str, str], runs: int) -> None:
    ref = service.ref(0)
    replacing = [PROGRAM, "exec", "--no-isolate", ref, "--", TRUE]
    compare(
        f"exec --no-isolate {service.name} / the bare SDK",
        (replacing, [PYTHON, *service.bare, TRUE]),
        environ,
        runs=runs,
        goal=service.goal,
    )
    if service.name == "file":
        compare(
            "check file / our read of it alone",
            ([PROGRAM, "check", ref], [PYTHON, str(HERE / "read_alone.py"), ref]),
            environ,
            runs=runs,
            goal="5 ms more",
        )
    if service.name == "vault":
        compare(
            "exec vault / exec --no-isolate vault",
            ([PROGRAM, "exec", ref, "--", TRUE], replacing),
            environ,
            runs=runs,
        )


def compare_instructions(service: Service, environ: dict[str, str]) -> None:
    """Compare `exec` and `export` with the bare script. The system refuses the command that replaces it."""
    ref = service.ref(0)
    refused = program.refused_command()
    bare = [PYTHON, *service.bare, refused]
    for name, command in {
        "exec": [PROGRAM, "exec", ref, "--", TRUE],
        "exec --no-isolate": [PROGRAM, "exec", "--no-isolate", ref, "--", refused],
        "export": [PROGRAM, "export", "--format", "value", ref],
    }.items():
        compare(
            f"{name} {service.name} / the bare SDK",
            ([PYTHON, *command], bare),
            environ,
            runs=1,
            goal=service.instructions_goal if name == "exec --no-isolate" else "",
            measure=instructions,
            unit="M instructions",
        )


def compare_wall(service: Service, environ: dict[str, str], runs: int) -> None:
    with longer_wire(service.port, LATENCY) as port:
        environ = {**environ, **service.led_to(port)}
        check = [PROGRAM, "check", "--format", "json"]
        compare(
            f"check of {MANY} from {service.name} / of one",
            ([*check, *map(service.ref, range(MANY))], [*check, service.ref(0)]),
            environ,
            runs=max(1, runs // 5),
            goal="3.00",
            measure=wall_seconds,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--only", default="", help="the name of a service, command, or mask")
    parser.add_argument(
        "--instructions", action=argparse.BooleanOptionalAction, default=shutil.which("valgrind") is not None
    )
    parser.add_argument("--blocks", type=int, default=PRINTED_BLOCKS, help="to print for mask")
    arguments = parser.parse_args()
    runs = arguments.runs
    # Every start would compile from source, on our side more than on the other.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    tokens = [make_token() for _ in range(MANY)]
    print(f"{'':<46} ratio   one / other, median of {runs}")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        base = {"PATH": os.environ["PATH"], "HOME": name, "LC_ALL": "C.UTF-8"}
        if not arguments.only:
            compare(
                "--version / python -c pass",
                ([PROGRAM, "--version"], [PYTHON, "-c", "pass"]),
                base,
                runs=runs,
            )
        for make in SERVICES:
            if arguments.only in {"", make.__name__}:
                folder = Path(name, make.__name__)
                folder.mkdir()
                with make(tokens, folder) as service:
                    environ = {**base, **service.environ}
                    compare_cpu(service, environ, runs)
                    if arguments.instructions:
                        compare_instructions(service, environ)
                    if service.port:
                        compare_wall(service, environ, runs)
        if arguments.only in {"", "command"}:
            program.compare_with_shell(compare, tokens[0], base, runs)
            program.show_added(cpu_seconds, tokens[0], base, runs)
            if arguments.instructions:
                program.show_added_instructions(instructions, tokens[0], base)
        if arguments.only in {"", "mask"}:
            mask.compare_all(max(1, runs // 3), arguments.blocks)


main()
