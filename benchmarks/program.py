"""`command:` against a shell line that runs the same program, and what it adds to the program's own time."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.services import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

TRUE = "/bin/true"


def refused_command() -> str:
    """Write a command that the system refuses to run, so that a count ends there."""
    path = Path.cwd() / "refused"
    path.write_bytes(b"\0")
    path.chmod(0o700)
    return str(path)


def compare_with_shell(compare: Callable[..., None], token: str, base: dict[str, str], runs: int) -> None:
    file = Path.cwd() / "token"
    file.write_text(token)
    cat = str(shutil.which("cat"))
    script = f'T=$({cat} "{file}") exec "{PROGRAM}" exec --no-isolate env:T -- {TRUE}'
    compare(
        "exec command / env, set by a shell",
        ([PROGRAM, "exec", "--no-isolate", f"command:cat/{file}", "--", TRUE], ["/bin/sh", "-c", script]),
        {**base, "ASTRO_TOKEN_COMMANDS": cat},
        runs=runs,
        goal="5 ms more",
    )


def show_added(
    measure: Callable[[list[str], dict[str, str]], float], token: str, base: dict[str, str], runs: int
) -> None:
    """Print the CPU time of `command:` without that of the program, and without that of `env:`."""
    file = Path.cwd() / "token"
    file.write_text(token)
    cat = str(shutil.which("cat"))
    environ = {**base, "ASTRO_TOKEN_COMMANDS": cat, "T": token}
    replacing = [PROGRAM, "exec", "--no-isolate"]
    commands = (
        [*replacing, f"command:cat/{file}", "--", TRUE],
        [*replacing, "env:T", "--", TRUE],
        [cat, str(file)],
    )
    times: tuple[list[float], ...] = ([], [], [])
    for _ in range(runs):
        for command, taken in zip(commands, times, strict=True):
            taken.append(measure(command, environ) * 1000)
    whole, other, own = map(statistics.median, times)
    added = whole - other - own
    whole, other, own = map(min, times)
    least = whole - other - own
    print(
        f"{'exec command, beside env and the program':<46}         {added:5.1f}, of the least times "
        f"{least:.1f} ms   goal 5 ms",
        flush=True,
    )


def show_added_instructions(
    count: Callable[[list[str], dict[str, str]], float], token: str, base: dict[str, str]
) -> None:
    """Print the instructions of `command:` without those of `env:`. Those of the program are not counted."""
    file = Path.cwd() / "token"
    file.write_text(token)
    cat = str(shutil.which("cat"))
    environ = {**base, "ASTRO_TOKEN_COMMANDS": cat, "T": token}
    whole, other = (
        count([PROGRAM, "exec", "--no-isolate", reference, "--", refused_command()], environ) * 1000
        for reference in (f"command:cat/{file}", "env:T")
    )
    print(f"{'exec command, beside env':<46}         {whole - other:5.1f} M instructions", flush=True)
