"""
`exec` and the Astro CLI together, up to the upload: the CLI takes what the private home is seeded with.

    ASTRO_BIN=/path/to/astro python -m pytest tests/programs/test_exec_astro.py

The stand-in and, where ASTRO_BIN names one, a real program are led to a loopback API
by the user's own settings, which the private home takes over.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Result
from tests.environment.cli_config_spellings import harmless, redirecting
from tests.programs.bench import PROGRAMS, STALE, TELEMETRY_ON, Bench, wait_for_telemetry
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, AstroApi
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.conftest import Program

ORGANIZATIONS = "GET /v1/organizations?limit=100&offset=0"
OF_ORGANIZATION = f"/v1/organizations/{ORGANIZATION}"
UNPROVEN = (
    f"astro-token: warning: env:TOKEN: the token names no workspace; the project expects {WORKSPACE}\n"
    "astro-token: hint: use a token of workspace scope, or check it with --online\n"
)


class Runner:
    """Runs the Astro CLI by `exec`, in a project and with a home whose context is another job's."""

    def __init__(self, bench: Bench, program: Program, folder: Path) -> None:
        self.bench, self.program = bench, program
        self.homes = folder / "run"
        self.homes.mkdir(mode=0o700)
        (folder / "bin").mkdir()
        (folder / "bin" / "astro").symlink_to(bench.program)
        bench.make_project()
        bench.seed(STALE)
        self.before = bench.file.read_bytes()
        self.path = f"{folder / 'bin'}:{bench.environment()['PATH']}"

    def __call__(self, token: str, *command: str, workspace: str | None = WORKSPACE) -> Result:
        self.program.canaries.append(token)
        expected = f'workspace = "{workspace}"\n' if workspace else ""
        file = self.bench.project / "astro-token.toml"
        file.write_text(f'default = "prod"\n[tokens.prod]\nref = "env:TOKEN"\n{expected}')
        file.chmod(0o600)
        self.bench.commit()
        env = self.bench.environment(
            TOKEN=token,
            XDG_RUNTIME_DIR=str(self.homes),
            ASTRO_TELEMETRY_API_URL=f"{self.bench.api.url}/telemetry",
            **TELEMETRY_ON,
        )
        env |= {"PATH": self.path, "TMPDIR": str(self.program.temporary)}
        result = self.program("exec", "--", "astro", *command, env=env, cwd=self.bench.project)
        # Whatever came of it, the user's home is as it was, the private one is gone, and nothing was sent.
        wait_for_telemetry(self.homes)
        assert "POST /telemetry" not in self.bench.api.lines()
        assert (self.before, []) == (self.bench.file.read_bytes(), list(self.homes.iterdir()))
        return result


@pytest.fixture(params=PROGRAMS)
def run(request: pytest.FixtureRequest, tmp_path: Path, astro_api: AstroApi, program: Program) -> Runner:
    return Runner(Bench(PROGRAMS[request.param], tmp_path, astro_api), program, tmp_path)


@pytest.mark.parametrize(
    ("command", "asked", "shown"),
    [
        ("workspace list", "workspaces?limit=1000&offset=0&sorts=name%3Aasc", WORKSPACE),
        ("deployment list", f"deployments?limit=1000&offset=0&workspaceIds={WORKSPACE}", DEPLOYMENT),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["a workspace's token", "an organization's token"])
def test_lists_are_of_the_workspace_that_is_meant_and_no_flag_is_needed(
    run: Runner, command: str, asked: str, shown: str, *, own: bool
) -> None:
    token = run.bench.api.issue() if own else run.bench.api.issue(ws=None)
    result = run(token, *command.split())
    assert (0, "" if own else UNPROVEN) == (result.code, result.stderr)
    assert shown in result.stdout
    assert [ORGANIZATIONS, f"GET {OF_ORGANIZATION}/{asked}"] == run.bench.api.lines()
    assert {token} == {request.bearer for request in run.bench.api.requests}


@pytest.mark.parametrize("named", [(DEPLOYMENT,), ()], ids=["named", "the only one"])
def test_dags_are_deployed_with_an_organization_s_token_and_no_flag(
    run: Runner, named: tuple[str, ...]
) -> None:
    token = run.bench.api.issue(ws=None)
    result = run(token, "deploy", *named, "--dags")
    assert (0, UNPROVEN) == (result.code, result.stderr)
    ((name, deploy),) = run.bench.api.deploys.items()
    ((_, bundle),) = run.bench.api.uploads.values()
    of_deployment = f"{OF_ORGANIZATION}/deployments/{DEPLOYMENT}"
    assert [
        f"POST {of_deployment}/deploys",
        f"PUT /upload/{name}?sig=made-up",
        f"POST {of_deployment}/deploys/{name}/finalize",
    ] == run.bench.api.lines()[-3:]
    assert (DEPLOYMENT, "DAG_ONLY", "DEPLOYED") == (
        deploy["deploymentId"],
        deploy["type"],
        deploy["status"],
    )
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        assert ["dags/etl.py"] == tar.getnames()


def test_where_no_workspace_is_expected_neither_the_other_job_s_is_taken_nor_is_it_kept_quiet(
    run: Runner,
) -> None:
    result = run(run.bench.api.issue(ws=None), "deploy", DEPLOYMENT, "--dags", workspace=None)
    assert 1 == result.code
    assert result.stderr.startswith(
        "astro-token: warning: deploy: prod names no workspace, and none is expected: "
        "without --workspace-id the Astro CLI fails, or uses the workspace of an earlier run\n"
        "astro-token: hint: set workspace in the token's table of astro-token.toml, "
        "which exec passes on, or give --workspace-id\n"
        "Error: failed to find a valid workspace: failed to get current Workspace: "
        "current workspace context not set, you can switch to a workspace with "
    )
    assert {} == run.bench.api.deploys
    # With the flag it goes where that says, and there is nothing to be said of it.
    flag = ("--workspace-id", WORKSPACE)
    result = run(run.bench.api.issue(ws=None), "deploy", DEPLOYMENT, "--dags", *flag, workspace=None)
    assert (0, "") == (result.code, result.stderr)
    assert 1 == len(run.bench.api.uploads)


def test_the_domain_is_seeded_as_the_current_context(run: Runner) -> None:
    result = run(run.bench.api.issue(), "context", "list")
    assert (0, "") == (result.code, result.stderr)
    assert ["NAME", "localhost"] == re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).split()
    stored = run(run.bench.api.issue(), "config", "get", "-g", "context")
    assert Result(0, "context: localhost\n", "") == stored


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_project_that_redirects_the_cli_gets_no_token(
    name: str, tmp_path: Path, astro_api: AstroApi, program: Program
) -> None:
    """The Astro CLI builds the API's address from the project's protocol, which need not be one."""
    bench, token = Bench(PROGRAMS[name], tmp_path, astro_api), astro_api.issue()
    program.canaries.append(token)
    with HttpServer(lambda _: Answer(500)) as listener:
        bench.make_project(settings=f"cloud:\n  api:\n    protocol: {listener.url}/x?\n")
        bench.run("workspace", "list", token=token, cwd=bench.project, env={"ASTRO_DOMAIN": None})
        assert f"Bearer {token}" == listener.requests[0].headers["authorization"]
        listener.requests.clear()
        env = {**bench.environment(TOKEN=token, ASTRO_DOMAIN=None), "TMPDIR": str(program.temporary)}
        line = f"{bench.program} workspace list"
        for command in (line.split(), ["sh", "-c", line]):
            result = program("exec", "env:TOKEN", "--", *command, env=env, cwd=bench.project)
            assert (78, "", []) == (result.code, result.stdout, listener.requests)
            assert "line 5: cloud.api.protocol decides where the Astro CLI sends the token" in result.stderr


def started(program: Program, files: Iterable[bytes]) -> list[bool]:
    """Run a shell by `exec` in a project with each of the files as its configuration."""
    (program.work / ".astro").mkdir()
    outcomes = []
    for data in files:
        (program.work / ".astro" / "config.yaml").write_bytes(data)
        run = ("exec", "env:TOKEN", "--", "sh", "-c", "echo started")
        result = program(*run, env={"TOKEN": program.canaries[0]})
        assert (result.code, result.stdout) in {(0, "started\n"), (78, "")}
        outcomes.append(result.code == 0)
    return outcomes


@pytest.mark.parametrize("step", [60, pytest.param(1, marks=pytest.mark.long)])
def test_nothing_starts_with_a_file_that_redirects_and_everything_with_a_harmless_one(
    step: int, program: Program
) -> None:
    bad, good = list(dict.fromkeys(redirecting())), list(dict.fromkeys(harmless()))
    assert 200 <= len(bad)
    assert 100 <= len(good)
    outcomes = started(program, [*bad[::step], *good[::step]])
    print(f"{outcomes.count(True)} of {len(outcomes)} start, {len(good[::step])} are harmless")
    assert outcomes == [False] * len(bad[::step]) + [True] * len(good[::step])
