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

OTHER, OWN = "cldep0another", "clws00000000000000000"  # the workspace of the token
MANIFEST = f"""\
[project]
name = "demo"
dependencies = ["apache-airflow==3.1.*"]

[tool.astro]
workspace = "{OWN}"

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
    second(project, MANIFEST.replace(OWN, WORKSPACE))
    FINDINGS[code][0](project)
    if code != "stale-workspace":  # which needs a file of its own
        second(project)
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
    keyring = "; it keeps logins in the keyring, which ASTRO_HOME does not isolate, "
    keyring += "but the token takes precedence"
    present = f"{version}, {first.bin}/astro{keyring if is_second else ''}"
    expected = ("warning", f"unfit-astro: {found}") if found else ("ok", present)
    assert expected == (astro["state"], astro["found"])
    assert 0 == doctor.code


def test_no_message_advises_what_the_second_version_removed(project: Project) -> None:
    (project.folder / "pyproject.toml").unlink()
    result = project.run("env:TOKEN")
    assert 78 == result.code
    assert "astro-token: hint: name the project's folder with --path\n" in result.stderr
    assert "astro dev" not in result.stderr


# -- what a project of the second version could do with the token -----------------------------------------

LINKED = MANIFEST + "\n[tool.astro.deployments.own]\nurl = 'https://airflow.corp.example'\nauth = "
EXPOSED = {
    "domain": (
        MANIFEST.replace("[tool.astro]\n", '[tool.astro]\ndomain = "astronomer.io.example"\n'),
        "tool.astro.domain decides where the Astro CLI sends the token",
    ),
    "astro": (
        LINKED + "{ method = 'astro' }\n",
        "tool.astro.deployments.own.auth sends the token to an address that is not Astro's API",
    ),
    "variable": (
        LINKED + "{ method = 'token', token-env = 'ASTRO_API_TOKEN' }\n",
        "tool.astro.deployments.own.auth sends the token as another credential",
    ),
    "program": (
        LINKED + "{ method = 'exec', command = ['./take'] }\n",
        "tool.astro.deployments.own.auth names a program, which would get the token",
    ),
    "build": (
        MANIFEST.replace("[tool.astro]\n", "[tool.astro]\nbuild-secrets = ['id=x,env=ASTRO_API_TOKEN']\n"),
        "tool.astro.build-secrets gives the token to the image's build",
    ),
    "broken": (f"{MANIFEST}[broken\n", "is not understood, and may have [tool.astro]"),
}


@pytest.mark.parametrize("name", EXPOSED)
def test_a_project_cannot_move_the_token(project: Project, name: str) -> None:
    text, reason = EXPOSED[name]
    second(project, text)
    # Of any command, and from below: some commands of the Astro CLI search upwards.
    result = project.exec("echo", "started", cwd=project.folder / "dags")
    assert (78, "") == (result.code, result.stdout)
    error, hint = result.stderr.splitlines()
    assert error.startswith(f"astro-token: error: {project.folder}/pyproject.toml")
    assert reason in error
    assert hint.startswith("astro-token: hint: ")
    (verdict,) = (v for v in project.deploy()["verdicts"] if v["code"] in {"other-api", "config-unread"})
    assert ("error", True) == (verdict["level"], reason in verdict["message"])


def test_the_environment_can_name_the_domain_and_accept_a_link(project: Project) -> None:
    second(project, EXPOSED["domain"][0].replace("astronomer.io.example", "https://cloud.astronomer-dev.io/"))
    assert 78 == project.exec("astro", "deploy", "prod").code
    result = project.exec("astro", "deploy", "prod", env={"ASTRO_DOMAIN": "astronomer-dev.io"})
    assert Result(0, "started deploy prod\n", "") == result
    second(project, EXPOSED["program"][0])
    accepted = {"ASTRO_TOKEN_CLI_KEYS": "tool.astro.deployments.own.auth"}
    assert Result(0, "started deploy prod\n", "") == project.exec("astro", "deploy", "prod", env=accepted)


def test_the_first_mistake_of_the_table_is_said(project: Project) -> None:
    second(project, MANIFEST.replace("[tool.astro]\n", "[tool.astro]\nworkpace = 'x'\nruntime = ''\n"))
    message = (
        "pyproject.toml: tool.astro.runtime is not a text, or empty, and 1 more mistake: "
        "the Astro CLI refuses the file"
    )
    deploy = project.deploy()
    assert (78, [("manifest-invalid", message)]) == (
        deploy["exit_code"],
        [(verdict["code"], verdict["message"]) for verdict in deploy["verdicts"]],
    )
    result = project.exec("astro", "deploy", "prod")  # which reports its file itself
    assert (0, [("warning", message)]) == (result.code, said(result))


# -- links as expectations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "value"), [("deployment", OTHER), ("workspace", WORKSPACE)])
def test_a_link_that_contradicts_the_project_file_is_refused(
    project: Project, scope: str, value: str
) -> None:
    project.policy(f'{TOML}{scope} = "{value}"\n')
    for result in (project.exec("astro", "deploy", "prod"), project.run()):
        assert (78, False) == (result.code, "started" in result.stdout)
        where = f"{project.folder}/astro-token.toml and the link in {project.folder}/pyproject.toml"
        assert f"{where} name different {scope}s for prod\n" in result.stderr


def test_a_link_gives_the_expectations_of_the_token_with_its_name(project: Project) -> None:
    project.policy(TOML)
    result = project.exec("astro", "deploy", "staging")
    message = (
        f"astro deploy goes to deployment {OTHER}, which the command names, and prod is for {DEPLOYMENT}"
    )
    assert (65, "", [("error", message)]) == (result.code, result.stdout, said(result))
    second(project, MANIFEST.replace(OWN, WORKSPACE))
    result = project.exec("astro", "workspace", "list")
    assert (65, "", True) == (result.code, result.stdout, f"the project expects {WORKSPACE}" in result.stderr)


def test_a_link_to_another_workspace_than_the_token_s_is_said(project: Project) -> None:
    second(project, f'{MANIFEST}workspace = "{WORKSPACE}"\n')
    message = f"the link in pyproject.toml names workspace {WORKSPACE}, and env:TOKEN is for {OWN}"
    assert [("warning", message)] == said(project.exec("astro", "deploy", "staging"))
    assert [] == said(project.exec("astro", "deploy", "staging", "--workspace", OWN))


# -- commands that the Astro CLI refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_second", "arguments", "reason"),
    [
        (True, "prod --pytest", "Astro CLI 2.0 has no --pytest"),
        (True, "prod -n etl", "Astro CLI 2.0 has no --deployment-name"),
        (True, "prod --deployment staging", "it names two deployments"),
        (True, f"prod --workspace {OWN} --workspace-id x", "it names two workspaces"),
        (True, "prod --dags --image", "--dags and --image exclude each other"),
        (True, "prod --wait-time 9m", "it has --wait-time without --wait"),
        (True, "mwaa", "its link in pyproject.toml is none of an Astro deployment"),
        (True, "prod --deployment prod -f -p --wait --wait-time 9m", None),
        (False, f"--deployment {DEPLOYMENT}", "Astro CLI 1.x has no --deployment"),
        (False, f"{DEPLOYMENT} --output json", "Astro CLI 1.x has no --output"),
        (False, f"{DEPLOYMENT} --parse -n x", None),
    ],
)
def test_a_command_that_its_version_refuses_is_said(
    first: Project, is_second: bool, arguments: str, reason: str | None
) -> None:
    if is_second:
        second(first, f"{MANIFEST}[tool.astro.deployments.mwaa]\ntarget = 'mwaa'\nenvironment = 'x'\n")
    result = first.exec("astro", "deploy", *arguments.split())
    expected = [("warning", f"the Astro CLI refuses the command: {reason}")] if reason else []
    assert (0, expected) == (result.code, said(result))


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


@pytest.mark.parametrize("option", ["", "--deployment "])
def test_a_link_with_the_name_of_the_expected_deployment_leads_nowhere_else(
    project: Project, option: str
) -> None:
    """A link takes precedence over an identifier."""
    expect(project)
    second(project, f'{MANIFEST}[tool.astro.deployments.{DEPLOYMENT}]\ndeployment = "{OTHER}"\n')
    result = project.exec("astro", "deploy", *f"{option}{DEPLOYMENT}".split())
    message = (
        f"astro deploy goes to deployment {OTHER}, which the command names, and prod is for {DEPLOYMENT}"
    )
    assert (65, "", [("error", message)]) == (result.code, result.stdout, said(result))


@pytest.mark.parametrize(
    ("is_second", "arguments", "result"),
    [
        (True, "", "fails, with input_required: it cannot ask for one here"),
        (False, "-n etl", "takes the workspace's only one, or asks, which fails in CI"),
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
        f"the Astro CLI {result}"
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
    assert [] == codes(first.deploy("prod"))  # the link of that name gives it
    first.write("pyproject.toml", MANIFEST.replace("deployments.prod", "deployments.production"))
    assert ["unnamed-deployment"] == codes(first.deploy("prod"))


def test_a_token_without_a_table_needs_no_name(project: Project) -> None:
    assert [] == codes(project.deploy("env:TOKEN"))
    ((level, message),) = said(project.exec("astro", "deploy"))
    assert ("warning", True) == (level, "the Astro CLI fails, with input_required" in message)


@pytest.mark.parametrize("command", [["make", "deploy"], ["sh", "-c", f"astro deploy {OTHER}"]])
def test_a_deploy_that_another_program_starts_is_not_seen(project: Project, command: list[str]) -> None:
    """As docs/exec.md says."""
    expect(project)
    for name in ("make", "sh"):
        project.script(name, "echo made")
    assert Result(0, "made\n", "") == project.exec(*command)


# -- a token of a workspace ----------------------------------------------------------------------------------


def test_a_workspace_s_token_for_an_expected_deployment_is_green_without_a_word(project: Project) -> None:
    second(project, MANIFEST.replace(OWN, WORKSPACE))
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
