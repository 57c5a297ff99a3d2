"""Where a token must not be seen while it travels; and that a scan would see it there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.conftest import PROGRAM, Result
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

CALLS = (
    "exec planted:NAME -- true",
    "exec --no-isolate planted:NAME -- true",
    "export planted:NAME --format posix",
    "export planted:NAME --format json --output out.json",
    "check planted:NAME",
    "check planted:NAME --format json",
    "put planted:NAME",
)


@pytest.mark.parametrize("name", ["prod", "expired", "cut", "fields", "none", "denied"])
def test_no_step_is_logged_with_a_value(program: Program, planted: Planted, canary: str, name: str) -> None:
    expired = make_token(expires_in=-60)
    program.canaries += [expired, "password-in-another-field"]
    planted.store("prod", canary)
    planted.store("expired", expired)
    planted.store("cut", canary[:-400].rpartition(".")[0])
    planted.store("fields", f'{{"a": "{canary}", "b": "password-in-another-field"}}')
    said = []
    for call in CALLS:
        file = program.work / "out.json"
        printed: list[str | Path] = [file, "stdout"] if "posix" in call else [file]
        words = ["--log-level", "debug", *call.replace("NAME", name).split()]
        result = program(*words, stdin=f"{expired}\n", allowed=printed)
        said += [line for line in result.stderr.splitlines() if line.startswith("astro-token: debug: ")]
        file.unlink(missing_ok=True)
    assert {f"astro-token: debug: reading planted:{name}"} == set(said)


def test_the_scan_finds_what_is_there(program: Program, planted: Planted, canary: str) -> None:
    planted.store("prod", canary)
    for line in (
        'echo "$ASTRO_API_TOKEN"',
        'echo "$ASTRO_API_TOKEN" >&2',
        'echo "$ASTRO_API_TOKEN" | base64 -w0',
        'echo "$ASTRO_API_TOKEN" >"$HOME/file"',
        'echo "$ASTRO_API_TOKEN" >"$TMPDIR/file"',
        'echo "$ASTRO_API_TOKEN" >file',
        'mkdir "$HOME/$(echo "$ASTRO_API_TOKEN" | cut -c 1-200)"',
    ):
        with pytest.raises(AssertionError, match=r"part|raw|whole|base64|start"):
            program("exec", "planted:prod", "--", "sh", "-c", line)
        for folder in (program.home, program.temporary, program.work):
            for left in folder.iterdir():
                left.unlink() if left.is_file() else left.rmdir()


def test_nothing_of_a_run_stays_in_temporary_or_shared_folders(program: Program, prod: str) -> None:
    shared = Path("/dev/shm")
    before = set(shared.glob("astro-token-*")) if shared.is_dir() else set()
    program("exec", prod, "--", "true")
    program("exec", prod, "--", "false")
    program("exec", prod, "--", "no-such-command")
    made = set(shared.glob("astro-token-*")) - before if shared.is_dir() else set()
    wait_until(lambda: not any(home.exists() for home in made))  # those of other runs, which are still in use
    assert [] == list(program.temporary.iterdir())


# -- the process list -------------------------------------------------------------------------------


class CommandLines(threading.Thread):
    """Every command line on this machine that holds a text, for as long as it is sampled."""

    def __init__(self, text: str) -> None:
        super().__init__(daemon=True)
        self.text, self.samples, self.found = text.encode(), 0, set[bytes]()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            for name in os.listdir("/proc"):  # noqa: PTH208 (a Path for each would halve the samples)
                if name.isdecimal():
                    self._look(f"/proc/{name}/cmdline")
            self.samples += 1

    def _look(self, file: str) -> None:
        try:
            with open(file, "rb") as lines:  # noqa: PTH123 (as above)
                line = lines.read()
        except OSError:
            return
        if self.text in line:
            self.found.add(line)

    def stop(self) -> set[bytes]:
        self._over.set()
        self.join()
        return self.found


@on_linux
def test_no_command_line_holds_the_token_until_the_cli_puts_it_on_one(
    program: Program, planted: Planted, tmp_path: Path
) -> None:
    """The control is the CLI's own login to a registry, which the stand-in repeats."""
    from tests.servers.astro_api import DEPLOYMENT, AstroApi

    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cat").write_text("#!/bin/sh\nsleep 0.2\n")  # as long as a real login takes
    (tools / "cat").chmod(0o755)
    programs = Path(__file__).parent.parent / "programs"
    (program.work / ".astro").mkdir()
    (program.work / ".astro" / "config.yaml").write_text("project:\n    name: x\n")
    (program.work / "dags").mkdir()
    (program.work / "dags" / "a.py").touch()
    with AstroApi() as api:
        token = api.issue()
        planted.store("prod", token)
        program.canaries.append(token)
        program.environ |= {"STANDIN_API_URL": api.url, "PATH": f"{tools}:{programs}:{os.environ['PATH']}"}
        lines = {}
        for login in ("0", "1"):
            sampled = CommandLines(token)
            sampled.start()
            command = ("exec", "planted:prod", "--", "astro", "deploy", DEPLOYMENT, "--force")
            result = program(*command, env={"STANDIN_REGISTRY_LOGIN": login}, allowed=["argv"])
            lines[login] = sampled.stop()
            assert (0, True) == (result.code, "Successfully pushed image" in result.stdout)
            assert sampled.samples > 20
    assert (set(), True) == (lines["0"], any(line.startswith(b"bash\0-c\0echo") for line in lines["1"]))


# -- our own memory ---------------------------------------------------------------------------------


@on_linux
def test_our_memory_goes_to_no_core_file_and_no_onlooker_and_the_childs_may(
    program: Program, prod: str, start: Callable[..., Background]
) -> None:
    """Not dumpable, a process belongs to root as far as /proc goes; so that needs another user to be seen."""
    code = (
        "import ctypes, resource; from astro_token.child.hardening import harden_process as close;"
        "get = lambda: (ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0]);"
        "before = get(); close(); print(before[0], *get())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1 0 0\n" == done.stdout
    dumpable = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert Result(0, "1\n", "") == program("exec", prod, "--", sys.executable, "-ISc", dumpable)
    gate = program.folder / "gate"
    running = start("exec", prod, "--", "sh", "-c", f'until [ -e "{gate}" ]; do sleep 0.01; done')
    wait_until(lambda: Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text())
    assert "Max core file size        0 " in Path(f"/proc/{running.pid}/limits").read_text()
    gate.touch()
    assert Result(0, "", "") == running.finish()


# -- a hostile folder -------------------------------------------------------------------------------

SHADOWED = (
    "argparse",
    "astro_token",
    "astro_token_backends",
    "ctypes",
    "dataclasses",
    "getpass",
    "hvac",
    "json",
    "logging",
    "os",
    "platformdirs",
    "pyrage",
    "re",
    "rich",
    "shutil",
    "signal",
    "sitecustomize",
    "tempfile",
    "tomllib",
    "usercustomize",
)


def test_a_checkout_cannot_put_its_own_modules_in_place_of_ours(program: Program, canary: str) -> None:
    hostile = program.work
    (hostile / ".git").mkdir()
    for name in SHADOWED:
        (hostile / f"{name}.py").write_text("open('pwned', 'w').close(); raise SystemExit('hostile')\n")
    environ = {"TOKEN": canary}
    assert 0 == program("check", "env:TOKEN", env=environ).code
    assert 0 == program("export", "env:TOKEN", env=environ, allowed=["stdout"]).code
    assert Result(5, "", "") == program("exec", "env:TOKEN", "--", "sh", "-c", "exit 5", env=environ)
    assert 0 == program("backends", env=environ).code
    (hostile / "key.txt").write_text("AGE-SECRET-KEY-1")
    assert 78 == program("put", "file:a.age", stdin=canary, env={"ASTRO_TOKEN_AGE_KEY_FILE": "key.txt"}).code
    assert not (hostile / "pwned").exists()
    # The control: Python's own way to run a module would take them.
    done = subprocess.run(
        [PROGRAM.parent / "python", "-m", "astro_token", "--version"],
        env=program.environment(),
        cwd=hostile,
        capture_output=True,
        check=False,
    )
    assert (True, True) == (done.returncode != 0, (hostile / "pwned").exists())
