"""The stand-in for the Astro CLI 2.0, by itself and with `exec`, up to the upload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.programs.bench import STANDIN, Bench
from tests.programs.test_exec_astro import Runner
from tests.servers.astro_api import DEPLOYMENT, ORGANIZATION, WORKSPACE, AstroApi

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program

SECOND = STANDIN.with_name("astro2")
MANIFEST = f"""\
[project]
name = "demo"
[tool.astro]
workspace = "{WORKSPACE}"
[tool.astro.deployments.prod]
deployment = "{DEPLOYMENT}"
default = true
[tool.astro.deployments.mwaa]
target = "mwaa"
environment = "x"
"""


class SecondRunner(Runner):
    def __init__(self, bench: Bench, program: Program, folder: Path) -> None:
        super().__init__(bench, program, folder)
        convert(bench)


def convert(bench: Bench, manifest: str = MANIFEST) -> None:
    """As `astro init` of 2.0 leaves a project."""
    (bench.project / ".astro" / "config.yaml").unlink(missing_ok=True)
    (bench.project / "pyproject.toml").write_text(manifest)
    bench.commit()


@pytest.fixture
def bench(tmp_path: Path, astro_api: AstroApi) -> Bench:
    made = Bench(SECOND, tmp_path, astro_api)
    made.make_project()
    convert(made)
    return made


@pytest.fixture
def run(tmp_path: Path, astro_api: AstroApi, program: Program) -> SecondRunner:
    return SecondRunner(Bench(SECOND, tmp_path, astro_api), program, tmp_path)


@pytest.mark.parametrize("named", ["prod", f"--deployment={DEPLOYMENT}"])
def test_a_link_is_deployed_and_no_configuration_holds_the_token(run: SecondRunner, named: str) -> None:
    token = run.bench.api.issue()
    result = run(token, "deploy", named, "--dags", "--output", "json", workspace=None)
    assert (0, "") == (result.code, result.stderr)
    ((_, bundle),) = run.bench.api.uploads.values()
    link = {"link": "prod"} if named == "prod" else {}
    expected = {"deployment": DEPLOYMENT, **link, "workspace": WORKSPACE, "type": "dag-only"}
    answer = json.loads(result.stdout)
    assert (expected, True) == (
        {name: text for name, text in answer.items() if name != "dag_bundle_version"},
        bool(answer["dag_bundle_version"] and bundle),
    )
    assert {token} == {request.bearer for request in run.bench.api.requests if request.bearer}


def test_its_errors_reach_the_caller_and_are_said_before(run: SecondRunner) -> None:
    result = run(run.bench.api.issue(), "deploy", "--dags", "--output", "json", workspace=None)
    error = json.loads(result.stdout)
    assert (1, "input_required", 1) == (result.code, error["kind"], error["code"])
    assert "warning: deploy: the command names no deployment" in result.stderr
    result = run(run.bench.api.issue(), "deploy", "prod", "--parse", workspace=None)
    assert (2, "") == (result.code, result.stdout)
    assert "warning: deploy: the Astro CLI refuses the command: Astro CLI 2.0 has no --parse" in result.stderr
    assert result.stderr.endswith("Error: --parse was removed in Astro CLI 2.0\n")


def test_the_token_goes_to_the_project_s_domain_unless_exec_refuses_it(
    bench: Bench, astro_api: AstroApi, tmp_path: Path, program: Program
) -> None:
    convert(bench, MANIFEST.replace("[tool.astro]\n", '[tool.astro]\ndomain = "localhost"\n'))
    token = astro_api.issue()
    away: dict[str, str | None] = {"ASTRO_DOMAIN": None}
    bench.run("deploy", "prod", "--dags", token=token, cwd=bench.project, env=away)
    assert token in {request.bearer for request in astro_api.requests}
    astro_api.requests.clear()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "astro").symlink_to(SECOND)
    env = bench.environment(TOKEN=token, **away)
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    program.canaries.append(token)
    result = program("exec", "env:TOKEN", "--", "astro", "deploy", "prod", env=env, cwd=bench.project)
    assert (78, "", []) == (result.code, result.stdout, astro_api.requests)
    assert "tool.astro.domain decides where the Astro CLI sends the token" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "words"),
    [
        ("deploy --dags", 1, "input_required", "must name the deployment"),
        ("deploy prod --pytest", 2, "usage", "--pytest was removed"),
        ("deploy prod -n x", 2, "usage", "-n was removed"),
        ("deploy prod --dags --image", 2, "usage", "--dags deploys only"),
        ("deploy prod --deployment other", 1, None, "names two targets"),
        ("deploy mwaa", 1, None, "is mwaa"),
        ("deploy cldep0missing --dags", 1, "not_found", ""),
        ("dev start", 2, "usage", "astro local"),
    ],
)
def test_its_errors_have_kinds(bench: Bench, arguments: str, code: int, kind: str | None, words: str) -> None:
    line = [*arguments.split(), "--output", "json"]
    env = {"ASTRO_DEPLOYMENT": "prod"}  # preselects an entry of a question only
    result = bench.run(*line, token=bench.api.issue(), cwd=bench.project, env=env)
    error = json.loads(result.stdout)
    assert (code, "", kind, code) == (result.code, result.stderr, error.get("kind"), error["code"])
    assert words in error["error"]


def test_it_refuses_a_project_of_the_first_version(bench: Bench) -> None:
    (bench.project / "pyproject.toml").unlink()
    for docker, words in ((False, "not an Astro project directory"), (True, "uses the Astro CLI 1.x layout")):
        if docker:
            (bench.project / "Dockerfile").write_text("FROM x\n")
        result = bench.run("deploy", "prod", "--output=json", token=bench.api.issue(), cwd=bench.project)
        error = json.loads(result.stdout)
        assert (1, "no_project", True) == (result.code, error["kind"], words in error["error"])


def test_check_deploy_runs_it(bench: Bench, tmp_path: Path, program: Program) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("astro", "docker"):
        (tmp_path / "bin" / name).symlink_to(SECOND)
    token = bench.api.issue()
    program.canaries.append(token)
    env = bench.environment(TOKEN=token, ASTRO_DOMAIN=None)
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    bench.file.unlink()
    result = program("check", "--deploy", "env:TOKEN", "--format", "json", env=env, cwd=bench.project)
    assert (0, []) == (result.code, json.loads(result.stdout)["deploy"]["verdicts"])
    assert ORGANIZATION in result.stdout
