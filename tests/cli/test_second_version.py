"""Projects and commands of Astro CLI 2.0, and the deployment that a command of either version names."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from astro_token.policy.codes import DEPLOY
from astro_token.testing import make_token
from tests.cli.deploy_project import DEPLOYMENT, WORKSPACE, Project, make
from tests.cli.test_check_deploy import FINDINGS, TOML, codes, organization_token
from tests.cli.test_exec_deploy import said
from tests.conftest import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Program

OTHER = "cldep0another"
MANIFEST = f"""\
[project]
name = "demo"
dependencies = ["apache-airflow==3.1.*"]

[tool.astro.deployments.prod]
deployment = "{DEPLOYMENT}"

[tool.astro.deployments.staging]
deployment = "{OTHER}"
"""
# Of what only 1.x does; tests/policy has all of it.
FIRST = ("requirements-clash", "uncommitted", "stale-workspace", "token-left")


def second(project: Project, manifest: str = MANIFEST) -> None:
    """As `astro init` of 2.0 leaves a project."""
    for path in (".astro/config.yaml", "Dockerfile", "requirements.txt"):
        (project.folder / path).unlink(missing_ok=True)
    project.write("pyproject.toml", manifest)
    project.script("astro", 'test "$1" = version && echo Astro CLI Version: 2.0.0 || echo "started $@"')
    project.commit()


def expect(project: Project, more: str = "") -> None:
    project.policy(f'{TOML}deployment = "{DEPLOYMENT}"\n{more}')


@pytest.fixture
def first(program: Program, canary: str, tmp_path: Path) -> Iterator[Project]:
    """One of 1.x, in which `astro` only says that it was started."""
    made = make(program, canary, tmp_path)
    made.script("astro", 'test "$1" = version && echo Astro CLI Version: 1.46.0 || echo "started $@"')
    yield made
    for file in made.open:
        file.close()


@pytest.fixture
def project(first: Project) -> Project:
    second(first)
    return first


# -- what is said of a project ----------------------------------------------------------------------------


def test_a_project_of_the_second_version_is_ok(project: Project) -> None:
    assert {"path": ".", "status": "ok", "exit_code": 0, "verdicts": []} == project.deploy()
    assert Result(0, "started deploy prod\n", "") == project.exec("astro", "deploy", "prod")


@pytest.mark.parametrize("code", FIRST)
def test_what_only_the_first_version_does_is_not_said(project: Project, code: str) -> None:
    assert (1,) == DEPLOY[code].majors
    FINDINGS[code][0](project)
    if code != "stale-workspace":  # which needs a file of its own
        expect(project)
    assert [] == codes(project.deploy("prod"))
    result = project.exec("astro", "deploy", "prod")
    assert (0, []) == (result.code, said(result))


@pytest.mark.parametrize("code", ["plain-http", "stored-domain", "no-docker"])
def test_what_both_versions_do_is_said(project: Project, code: str) -> None:
    FINDINGS[code][0](project)
    assert code in codes(project.deploy())


def test_dags_that_are_missing_are_said_without_what_the_first_version_makes_of_them(
    project: Project,
) -> None:
    shutil.rmtree(project.folder / "dags")
    (verdict,) = project.deploy()["verdicts"]
    assert "the folder dags is missing: the Astro CLI finds no DAGs, and deploys none" == verdict["message"]


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        ("[tool.astro]\n", ["no-workspace"]),
        (f'[tool.astro]\nworkspace = "{WORKSPACE}"\n', []),
        (f'[tool.astro.deployments.a]\ndeployment = "x"\nworkspace = "{WORKSPACE}"\n', []),
    ],
)
def test_a_workspace_can_be_the_project_s(project: Project, manifest: str, found: list[str]) -> None:
    organization_token(project)
    second(project, manifest)
    said_of = project.deploy()
    assert found == codes(said_of)
    assert all("without --workspace the" in verdict["message"] for verdict in said_of["verdicts"])
    assert [] == said(project.exec("astro", "deploy", "a", "--workspace", WORKSPACE))


@pytest.mark.parametrize(
    ("version", "uncommitted"), [("1.46.0", True), ("2.0.0-beta.1", False), ("SNAPSHOT-1a2b", True)]
)
def test_the_installed_version_decides_about_a_project_to_both(
    project: Project, version: str, uncommitted: bool
) -> None:
    project.write("Dockerfile", "FROM x\n")
    project.settings("project:\n    name: demo\n    deployment: cldep0saved\n")
    expect(project)
    project.write("dags/etl.py", "# changed\n")
    project.script("astro", f'test "$1" = version && echo Astro CLI Version: {version} || echo "started $@"')
    found = ["project-deployment", "uncommitted"] if uncommitted else []
    assert found == codes(project.deploy("prod"))
    result = project.exec("astro", "deploy", DEPLOYMENT)
    assert (0, uncommitted) == (result.code, "uncommitted changes" in result.stderr)


@pytest.mark.parametrize(
    ("version", "is_second", "found"),
    [
        ("1.46.0", True, "the astro on PATH is 1.46.0, and the project is one of Astro CLI 2.x"),
        ("2.1.0-rc.1", False, "the astro on PATH is 2.1.0-rc.1, and the project is one of Astro CLI 1.x"),
        ("2.1.0", True, None),
        ("1.46.0", False, None),
    ],
)
def test_an_astro_of_the_other_version_is_said_by_check_and_by_doctor(
    first: Project, version: str, is_second: bool, found: str | None
) -> None:
    if is_second:
        second(first)
    first.script("astro", f"echo Astro CLI Version: {version}")
    assert ([found] if found else []) == [verdict["message"] for verdict in first.deploy()["verdicts"]]
    env = {"PATH": str(first.bin), "TOKEN": first.canary}
    doctor = first.program("doctor", "env:TOKEN", "--offline", "--format", "json", env=env, cwd=first.folder)
    (astro,) = (link for link in json.loads(doctor.stdout)["links"] if link["link"] == "astro")
    expected = ("warning", f"unfit-astro: {found}") if found else ("ok", f"{version}, {first.bin}/astro")
    assert expected == (astro["state"], astro["found"])
    assert 0 == doctor.code


def test_no_message_advises_what_the_second_version_removed(project: Project) -> None:
    (project.folder / "pyproject.toml").unlink()
    result = project.run("env:TOKEN")
    assert 78 == result.code
    assert "astro-token: hint: name the project's folder with --path\n" in result.stderr
    assert "astro dev" not in result.stderr


# -- the deployment that a command names --------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "prod",
        DEPLOYMENT,
        "--deployment=prod --output json --wait",
        f"--workspace clws00000000000000000 {DEPLOYMENT} --image --force",
    ],
)
def test_a_link_or_an_identifier_of_the_expected_deployment_is_started(
    project: Project, arguments: str
) -> None:
    expect(project)
    started = f"started deploy {arguments}\n"
    assert Result(0, started, "") == project.exec("astro", "deploy", *arguments.split())


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("staging", OTHER),
        ("--deployment staging --output json", OTHER),
        (f"--non-dags --non-dags-mount-path x {OTHER}", OTHER),
        ("unknown", "unknown"),
    ],
)
def test_another_deployment_is_refused_before_the_command_is_started(
    project: Project, arguments: str, shown: str
) -> None:
    expect(project)
    result = project.exec("astro", "deploy", *arguments.split(), env={"ASTRO_DEPLOYMENT": DEPLOYMENT})
    message = (
        f"astro deploy goes to deployment {shown}, which the command names, and prod is for {DEPLOYMENT}"
    )
    assert (65, "", [("error", message)]) == (result.code, result.stdout, said(result))


@pytest.mark.parametrize(
    "arguments",
    [
        f"--dags {OTHER} -f -n {DEPLOYMENT}",
        f"--non-dags --non-dags-mount-path x {OTHER}",
        f"--image-name mine -- {OTHER}",
    ],
)
@pytest.mark.parametrize("where", ["project", "elsewhere"])
def test_another_deployment_is_refused_with_the_first_version_too_and_in_any_folder(
    first: Project, arguments: str, where: str
) -> None:
    expect(first)
    env = {"ASTRO_DEPLOYMENT": DEPLOYMENT, "ASTRO_TOKEN_POLICY_DEPLOYMENT": DEPLOYMENT}
    token = make_token(deployment=DEPLOYMENT)
    first.program.canaries.append(token)
    cwd = first.folder if where == "project" else first.folder / "dags"  # no project, and the same file
    result = first.exec("astro", "deploy", *arguments.split(), env={"TOKEN": token, **env}, cwd=cwd)
    assert (65, "") == (result.code, result.stdout)
    assert f"deploy: astro deploy goes to deployment {OTHER}, which the command names" in result.stderr


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", f"astro deploy goes to deployment {OTHER}, which the command names"),
        ("[broken\n", f"the command names deployment {DEPLOYMENT}, which pyproject.toml may give to another"),
    ],
)
def test_a_link_with_the_name_of_the_expected_deployment_leads_nowhere_else(
    project: Project, rest: str, message: str
) -> None:
    """A link takes precedence over an identifier."""
    expect(project)
    second(project, f'[tool.astro.deployments.{DEPLOYMENT}]\ndeployment = "{OTHER}"\n{rest}')
    result = project.exec("astro", "deploy", DEPLOYMENT)
    ((level, told),) = said(result)
    assert (65, "", "error", True) == (result.code, result.stdout, level, told.startswith(message))
    # Without an expectation there is nothing to compare, and the Astro CLI reports its file itself.
    project.policy(TOML)
    assert 0 == project.exec("astro", "deploy", DEPLOYMENT).code


@pytest.mark.parametrize(
    ("is_second", "arguments", "result"),
    [
        (True, "", "asks for one"),
        (False, "-n etl", "takes the workspace's only one, or asks"),
    ],
)
def test_a_command_that_names_no_deployment_is_a_warning_unless_policy_requires_one(
    first: Project, is_second: bool, arguments: str, result: str
) -> None:
    if is_second:
        second(first)
    expect(first)
    token = make_token(deployment=DEPLOYMENT)
    first.program.canaries.append(token)
    message = (
        f"the command names no deployment by its identifier, and prod is for {DEPLOYMENT}: "
        f"the Astro CLI {result}, which fails in CI"
    )
    # The variable only preselects an entry of the question.
    env = {"TOKEN": token, "ASTRO_DEPLOYMENT": DEPLOYMENT}
    run = first.exec("astro", "deploy", *arguments.split(), env=env)
    assert (0, [("warning", message)]) == (run.code, said(run))
    assert f"astro-token: hint: name it: astro deploy {DEPLOYMENT}\n" in run.stderr
    env["ASTRO_TOKEN_POLICY_DEPLOYMENT"] = DEPLOYMENT
    run = first.exec("astro", "deploy", *arguments.split(), env=env)
    assert (65, "", [("error", message)]) == (run.code, run.stdout, said(run))


def test_the_project_s_configuration_names_it_for_the_first_version_only(first: Project) -> None:
    expect(first)
    first.settings(f"project:\n    name: demo\n    deployment: {DEPLOYMENT}\n")
    assert Result(0, "started deploy\n", "") == first.exec("astro", "deploy")
    first.policy(TOML)  # and then no table has to
    assert [] == codes(first.deploy("prod"))
    first.write("pyproject.toml", MANIFEST)
    first.script("astro", "echo Astro CLI Version: 2.0.0")
    assert ["unnamed-deployment"] == codes(first.deploy("prod"))


def test_a_token_without_a_table_needs_no_name(project: Project) -> None:
    assert [] == codes(project.deploy("env:TOKEN"))
    assert [] == said(project.exec("astro", "deploy"))


@pytest.mark.parametrize("command", [["make", "deploy"], ["sh", "-c", f"astro deploy {OTHER}"]])
def test_a_deploy_that_another_program_starts_is_not_seen(project: Project, command: list[str]) -> None:
    """As docs/exec.md says."""
    expect(project)
    for name in ("make", "sh"):
        project.script(name, "echo made")
    assert Result(0, "made\n", "") == project.exec(*command)


# -- a token of a workspace ----------------------------------------------------------------------------------


def test_a_workspace_s_token_for_an_expected_deployment_is_green_without_a_word(project: Project) -> None:
    expect(project, f'workspace = "{WORKSPACE}"\n')
    token = make_token(workspace=WORKSPACE)
    project.program.canaries.append(token)
    env = {"TOKEN": token, "COLUMNS": "200"}
    for option in ("--strict", "--all"):
        result = project.run(option, env=env)
        assert (0, "", True) == (result.code, result.stderr, "VERDICT" in result.stdout)
    assert Result(0, "started deploy prod\n", "") == project.exec("astro", "deploy", "prod", env=env)
    # Where policy requires the deployment, it has to be proven.
    required = {**env, "ASTRO_TOKEN_POLICY_DEPLOYMENT": DEPLOYMENT}
    result = project.run(env=required)
    assert (65, True) == (result.code, "the token names no deployment; policy requires" in result.stderr)
