"""
The Astro CLI's telemetry, which sends the token since 1.46, and the ways to hand the token over.

    ASTRO_BIN=/path/to/astro python -m pytest tests/programs/test_telemetry.py

The address of the telemetry is a listener's in each test, and telemetry is on in the caller's environment.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAM, Result
from tests.programs.bench import PROGRAMS, STANDIN, TELEMETRY_ON, Bench, wait_for_telemetry
from tests.servers.astro_api import WORKSPACE, AstroApi
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Program

ASTRO = ("astro", "workspace", "list")
ISOLATED = """
import subprocess, sys
from astro_token import isolated, read_token
with isolated(read_token("env:TOKEN")) as environ:
    sys.exit(subprocess.run(["astro", "workspace", "list"], env=environ).returncode)
"""
DISABLED, ADDRESS = ("--keep-env", "ASTRO_TELEMETRY_DISABLED"), ("--keep-env", "ASTRO_TELEMETRY_API_URL")
# Command lines; `astro-token` is the real entry point.
HANDED_OVER = {
    "exec": ("astro-token", "exec", "env:TOKEN", "--", *ASTRO),
    "exec of a shell": ("astro-token", "exec", "env:TOKEN", "--", "sh", "-c", " ".join(ASTRO)),
    "exec --mask": ("astro-token", "exec", "--mask", "env:TOKEN", "--", *ASTRO),
    "exec --no-isolate": ("astro-token", "exec", "--no-isolate", "env:TOKEN", "--", *ASTRO),
    "exec, telemetry on": ("astro-token", "exec", *DISABLED, "env:TOKEN", "--", *ASTRO),
    "exec, address kept": ("astro-token", "exec", *ADDRESS, "env:TOKEN", "--", *ASTRO),
    "isolated": (sys.executable, "-c", ISOLATED),
    "export": ("sh", "-c", f'eval "$(astro-token export env:TOKEN --format posix)"; {" ".join(ASTRO)}'),
}


@pytest.fixture
def listener() -> Iterator[HttpServer]:
    with HttpServer(lambda _: Answer(202)) as server:
        yield server


class Case:
    """Runs a command line in an environment in which the telemetry is on, and goes to the listener."""

    def __init__(self, bench: Bench, program: Program, listener: HttpServer, folder: Path) -> None:
        self.bench, self.program, self.listener, self.folder = bench, program, listener, folder
        self.homes = folder / "run"
        self.homes.mkdir(mode=0o700)
        for name, target in (("astro", bench.program), ("astro-token", PROGRAM)):
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).symlink_to(target)
        self.token = bench.api.issue()
        program.canaries.append(self.token)

    def environment(self) -> dict[str, str]:
        env = self.bench.environment(
            TOKEN=self.token,
            XDG_RUNTIME_DIR=str(self.homes),
            TMPDIR=str(self.program.temporary),
            ASTRO_TELEMETRY_API_URL=self.listener.url,
            **TELEMETRY_ON,
        )
        return {**env, "PATH": f"{self.folder / 'bin'}:{env['PATH']}"}

    def __call__(self, *command: str) -> Result:
        done = subprocess.run(
            command,
            env=self.environment(),
            cwd=self.bench.elsewhere,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        wait_for_telemetry(self.folder)
        result = Result(done.returncode, done.stdout, done.stderr)
        assert [] == self.program.leaks(result)
        return result


@pytest.fixture(params=PROGRAMS)
def case(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    astro_api: AstroApi,
    program: Program,
    listener: HttpServer,
) -> Case:
    return Case(Bench(PROGRAMS[request.param], tmp_path, astro_api), program, listener, tmp_path)


@pytest.mark.parametrize("command", HANDED_OVER)
def test_the_telemetry_gets_no_token_and_leaves_no_home(case: Case, command: str) -> None:
    check(case, command, runs=1 if case.bench.program == STANDIN else 5)


@pytest.mark.long
@pytest.mark.parametrize("command", HANDED_OVER)
def test_the_telemetry_gets_no_token_in_five_of_five_runs(case: Case, command: str) -> None:
    check(case, command, runs=5)


def check(case: Case, command: str, *, runs: int) -> None:
    for _ in range(runs):
        result = case(*HANDED_OVER[command])
        assert (0, True) == (result.code, WORKSPACE in result.stdout), result.stderr
        assert [] == case.listener.requests
        if command != "exec, telemetry on":  # that home holds no token, and the next run removes it
            assert [] == list(case.homes.iterdir())
            assert "notice_shown" not in case.bench.file.read_text()
    assert 0 == case(*HANDED_OVER["exec"]).code
    assert [] == list(case.homes.iterdir())


def test_who_keeps_both_variables_sends_the_token_and_the_next_run_removes_the_home(case: Case) -> None:
    """Otherwise the test above would prove nothing."""
    version = re.findall(r"\d+", case.bench.run("version").stdout)
    expected = {f"Bearer {case.token}"} if [1, 46] <= [int(part) for part in version[:2]] else {None}
    if case.bench.program == STANDIN:
        expected = {f"Bearer {case.token}"}
    result = case("astro-token", "exec", *DISABLED, *ADDRESS, "env:TOKEN", "--", *ASTRO)
    assert (0, True) == (result.code, WORKSPACE in result.stdout)
    assert expected == {request.headers.get("authorization") for request in case.listener.requests}
    left = [path / ".astro" / "config.yaml" for path in case.homes.iterdir()]
    assert case.bench.program != STANDIN or 1 == len(left)
    assert not any("Bearer" in file.read_text() for file in left)
    case("astro-token", "exec", "env:TOKEN", "--", *ASTRO)
    assert [] == list(case.homes.iterdir())


def test_without_us_it_creates_a_home_that_was_removed(
    tmp_path: Path, astro_api: AstroApi, listener: HttpServer
) -> None:
    bench = Bench(STANDIN, tmp_path, astro_api)
    token = astro_api.issue()
    variables = {**TELEMETRY_ON, "ASTRO_TELEMETRY_API_URL": listener.url}
    assert 0 == bench.run(*ASTRO[1:], token=token, env=variables).code
    shutil.rmtree(bench.home)
    wait_for_telemetry(tmp_path)
    assert [f"Bearer {token}"] == [request.headers["authorization"] for request in listener.requests]
    assert bench.file.exists()
    assert "Bearer" not in bench.file.read_text()


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"ASTRO_TELEMETRY_DISABLED": "1"}, 0),
        ({"ASTRO_TELEMETRY_DISABLED": "TRUE"}, 0),
        ({"ASTRO_TELEMETRY_DISABLED": "0"}, 1),
        ({"ASTRO_TELEMETRY_DISABLED": ""}, 1),
    ],
)
def test_the_variable_turns_it_off(
    tmp_path: Path, astro_api: AstroApi, listener: HttpServer, variables: dict[str, str], sent: int
) -> None:
    bench = Bench(STANDIN, tmp_path, astro_api)
    bench.run("version", env={**variables, "ASTRO_TELEMETRY_API_URL": listener.url})
    wait_for_telemetry(tmp_path)
    assert sent == len(listener.requests)
