"""`command:` against a shell line that runs the same program and hands over its output."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.services import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

TRUE = "/bin/true"


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
