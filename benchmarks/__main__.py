"""
CPU time of the tool against the smallest script that does the same with the bare SDK. `make bench` runs it.

Each line is a ratio of medians of user and system time, taken in turns in one run:
whatever else the machine does hits both sides alike. Only ratios are worth comparing between machines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from astro_token.testing import make_token
from tests.servers.openbao import OpenBao

HERE = Path(__file__).parent
PYTHON = sys.executable
PROGRAM = str(Path(PYTHON).parent / "astro-token")


@dataclass(frozen=True)
class Pair:
    name: str
    ours: list[str]
    bare: list[str]
    goal: str = ""


def cpu_seconds(command: list[str], environ: dict[str, str]) -> float:
    """User and system time of a process and of all it waited for."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def ratio(pair: Pair, environ: dict[str, str], runs: int) -> str:
    ours, bare = [], []
    for _ in range(runs):
        bare.append(cpu_seconds(pair.bare, environ))
        ours.append(cpu_seconds(pair.ours, environ))
    one, other = statistics.median(ours), statistics.median(bare)
    return f"{pair.name:<46} {one / other:5.2f}   {one * 1000:6.1f} / {other * 1000:6.1f} ms   {pair.goal}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--runs", type=int, default=31)
    runs = parser.parse_args().runs
    # Every start would compile from source, on our side more than on the other.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder, OpenBao() as bao:
        environ = {"PATH": os.environ["PATH"], "HOME": folder, "LC_ALL": "C.UTF-8"}
        environ |= {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token}
        environ |= {"ASTRO_TOKEN_AGE_KEY_FILE": f"{folder}/config/astro-token/age-key.txt"}
        token = make_token()
        put = {**environ, "XDG_CONFIG_HOME": f"{folder}/config"}
        put.pop("ASTRO_TOKEN_AGE_KEY_FILE")
        for arguments in (["--create-key", f"file:{folder}/token.age"], ["vault:secret/astro/prod#token"]):
            subprocess.run(
                [PROGRAM, "put", *arguments], env=put, input=token.encode(), check=True, cwd=folder
            )
        os.chdir(folder)
        print(f"{'':<46} ratio   ours / bare, median of {runs}")
        file, vault, true = f"file:{folder}/token.age", "vault:secret/astro/prod#token", "/bin/true"
        for pair in (
            Pair("--version / python -c pass", [PROGRAM, "--version"], [PYTHON, "-c", "pass"]),
            Pair(
                "exec --no-isolate file / pyrage and execvpe",
                [PROGRAM, "exec", "--no-isolate", file, "--", true],
                [PYTHON, str(HERE / "bare_file.py"), f"{folder}/token.age", true],
            ),
            Pair(
                "exec --no-isolate vault / hvac and execvpe",
                [PROGRAM, "exec", "--no-isolate", vault, "--", true],
                [PYTHON, str(HERE / "bare_vault.py"), "secret", "astro/prod", "token", true],
                "goal 1.15",
            ),
            Pair(
                "exec vault / exec --no-isolate vault",
                [PROGRAM, "exec", vault, "--", true],
                [PROGRAM, "exec", "--no-isolate", vault, "--", true],
            ),
        ):
            print(ratio(pair, environ, runs), flush=True)


main()
