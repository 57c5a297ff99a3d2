"""`exec -- astro deploy`: what is said of the project first, and what keeps the deploy from being started."""

from __future__ import annotations

import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from astro_token.policy.codes import DEPLOY as CODES
from astro_token.testing import make_token
from tests.cli.deploy_project import DEPLOYMENT, WORKSPACE, Project, make
from tests.cli.test_check_deploy import FINDINGS, TOML, expected, no_dags, organization_token
from tests.conftest import Result
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Background
    from tests.conftest import Program

STARTED = "started deploy\n"
OWN = "clws00000000000000000"  # the workspace of the token
# In the order of the table. The user's home, variables and versions of programs are no business of exec's.
LOOKED_FOR = (
    "no-dags",
    "dags-ignored",
    "no-dockerfile",
    "requirements-clash",
    "other-registry",
    "project-deployment",
    "unread-workspace",
    "debug-output",
    "uncommitted",
    "git-unknown",
    "no-workspace",
)


@pytest.fixture
def project(program: Program, canary: str, tmp_path: Path) -> Iterator[Project]:
    """One in which `astro` only says that it was started."""
    made = make(program, canary, tmp_path)
    made.script("astro", 'echo "started $@"')
    yield made
    for file in made.open:
        file.close()


def said(result: Result) -> list[tuple[str, str]]:
    """Level and message of each finding, after a look at whether each has its hint."""
    lines = [line.removeprefix("astro-token: ") for line in result.stderr.splitlines()]
    found = [line.split(": ", 2) for line in lines if ": deploy: " in line]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(found) <= len(hints)
    return [(level, message) for level, _, message in found]


def no_dockerfile(project: Project) -> None:
    FINDINGS["no-dockerfile"][0](project)


def changed(project: Project) -> None:
    project.write("dags/etl.py", "# changed\n")


def dags_elsewhere(project: Project) -> None:
    project.write("elsewhere/a.py", "x")
    no_dags(project)


def two_versions(project: Project) -> None:
    FINDINGS["requirements-clash"][0](project)


# -- what is said ---------------------------------------------------------------------------------------


def test_a_project_that_can_be_deployed_is_deployed_without_a_word(project: Project) -> None:
    assert Result(0, STARTED, "") == project.exec("astro", "deploy")


@pytest.mark.parametrize("code", LOOKED_FOR)
def test_each_finding_is_a_warning_unless_policy_makes_it_an_error_or_silences_it(
    project: Project, code: str
) -> None:
    arrange, message = FINDINGS[code]
    arrange(project)
    status = CODES[code].exit_code
    # Only a deploy to another deployment than the expected one is refused.
    usual = (status, "", [("error", message)]) if code == "project-deployment" else None
    for level, outcome in {
        "": usual or (0, STARTED, [("warning", message)]),
        "warning": (0, STARTED, [("warning", message)]),
        "error": (status, "", [("error", message)]),
        "off": (0, STARTED, []),
    }.items():
        policy = {"ASTRO_TOKEN_POLICY_DEPLOY": f"{code}={level}" if level else ""}
        result = project.exec("astro", "deploy", env=policy)
        assert outcome == (result.code, result.stdout, said(result))


def test_a_workspace_that_the_token_is_not_for_would_deploy_nothing(project: Project) -> None:
    named = ["astro", "deploy", "--workspace-id"]
    assert Result(0, f"{STARTED.strip()} --workspace-id {OWN}\n", "") == project.exec(*named, OWN)
    result = project.exec(*named, "clother000000000000000")
    ((level, message),) = said(result)
    assert (0, "warning") == (result.code, level)
    assert "names workspace clother000000000000000" in message
    result = project.exec(*named, "clother", env={"ASTRO_TOKEN_POLICY_DEPLOY": "other-workspace=error"})
    assert (65, "", "error") == (result.code, result.stdout, said(result)[0][0])


def test_the_project_s_policy_counts_and_the_worst_of_several_errors_is_the_status(project: Project) -> None:
    project.policy(
        f'default = "prod"\n{TOML}[policy.deploy]\nuncommitted = "error"\nno-dockerfile = "warning"\n'
    )
    no_dockerfile(project)
    changed(project)
    result = project.exec("astro", "deploy")
    assert (65, "", ["error", "warning"]) == (
        result.code,
        result.stdout,
        [level for level, _ in said(result)],
    )
    # What is no error of the guard's own counts as well: here what the token is for.
    organization_token(project)
    floor = {"ASTRO_TOKEN_POLICY_DEPLOY": "no-workspace=error,no-dags=error"}
    assert ["error", "error", "warning"] == [
        level for level, _ in said(project.exec("astro", "deploy", env=floor))
    ]


def test_without_isolation_it_is_the_same(project: Project) -> None:
    changed(project)
    run = ("exec", "--no-isolate", "env:TOKEN", "--", "astro", "deploy")
    env = {"PATH": str(project.bin), "TOKEN": project.canary}
    result = project.program(*run, env=env, cwd=project.folder)
    assert (0, STARTED, 1) == (result.code, result.stdout, len(said(result)))
    env["ASTRO_TOKEN_POLICY_DEPLOY"] = "uncommitted=error"
    assert 65 == project.program(*run, env=env, cwd=project.folder).code


def test_a_registry_that_gets_the_token_is_told_of_once(project: Project) -> None:
    FINDINGS["other-registry"][0](project)
    assert ["registry, and astro"] == re.findall(
        r"registry,? \w+ \w+", project.exec("astro", "deploy").stderr.partition("hint")[0]
    )
    # Of other commands it is told as before, and there policy has no say.
    off = {"ASTRO_TOKEN_POLICY_DEPLOY": "other-registry=off"}
    assert (1, "") == (
        project.exec("astro", "remote", "deploy", env=off).stderr.count("registry that"),
        project.exec("astro", "deploy", env=off).stderr,
    )


def test_policy_can_forbid_a_registry_for_each_command(project: Project) -> None:
    FINDINGS["other-registry"][0](project)  # registry.example.com/images
    for registries, status in {"other.example": 65, "registry.example.com": 0}.items():
        env = {"ASTRO_TOKEN_POLICY_REGISTRIES": registries, "ASTRO_TOKEN_POLICY_DEPLOY": "other-registry=off"}
        for command in (
            ["astro", "deploy"],
            ["astro", "remote", "deploy"],
            ["/bin/sh", "-c", "astro deploy"],
        ):
            result = project.exec(*command, env=env)
            outcome = (result.code, "started" in result.stdout, "names a registry" in result.stderr)
            assert (status, not status, bool(status)) == outcome


def test_policy_can_require_a_lock_of_the_astro_cli_for_each_of_its_commands(project: Project) -> None:
    floor = {"ASTRO_TOKEN_POLICY_CLI_LOCK": "true"}
    for command in (["astro", "deploy"], ["astro", "workspace", "list"]):
        result = project.exec(*command, env=floor)
        assert (78, "") == (result.code, result.stdout)
        assert result.stderr == (
            "astro-token: error: policy requires a lock of the Astro CLI (cli_lock), "
            "and the project file has none\n"
            "astro-token: hint: "
            "add the table that astro-token install-cli --lock prints to astro-token.toml\n"
        )
    assert 0 == project.exec("/bin/sh", "-c", ":", env=floor).code
    lock = f'[astro-cli]\nversion = "1.45.0"\nsha256 = {{ linux-amd64 = "{"a" * 64}" }}\n'
    project.policy(f'default = "prod"\n{TOML}{lock}')
    assert (0, STARTED) == ((result := project.exec("astro", "deploy", env=floor)).code, result.stdout)


# -- flags ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrange", "flags", "codes"),
    [
        (changed, "", ["uncommitted"]),
        (changed, "-f", []),
        (changed, "--force --dags", []),
        (changed, "--dags", ["uncommitted"]),
        (FINDINGS["git-unknown"][0], "-f", []),
        (no_dockerfile, "--dags", []),
        (no_dockerfile, "--dags --parse", ["no-dockerfile"]),
        (no_dockerfile, "-i mine", []),
        (no_dockerfile, "-f", ["no-dockerfile"]),
        (two_versions, "-d", []),
        (no_dags, "--image", []),
        (no_dags, "--dags", ["no-dags"]),
        # Then all that are deployed are removed, and nobody is asked.
        (no_dags, "--dags --force", ["no-dags"]),
        (no_dags, "--dags-path elsewhere", ["no-dags"]),
        (dags_elsewhere, "--dags-path elsewhere", []),
        (organization_token, "", ["no-workspace"]),
        (organization_token, f"--workspace-id {WORKSPACE}", []),
        (expected, "", ["project-deployment"]),
        (expected, DEPLOYMENT, []),
        # The project's configuration goes before a name.
        (expected, "-n etl", ["project-deployment"]),
        (expected, "cldep0elsewhere", ["project-deployment"]),
    ],
)
def test_what_the_flags_of_the_deploy_leave_to_say(
    project: Project, arrange: Callable[[Project], object], flags: str, codes: list[str]
) -> None:
    arrange(project)
    every = ",".join(f"{code}=error" for code in LOOKED_FOR)
    result = project.exec("astro", "deploy", *flags.split(), env={"ASTRO_TOKEN_POLICY_DEPLOY": every})
    messages = [message for _, message in said(result)]
    assert len(codes) == len(messages)
    for code, message in zip(codes, messages, strict=True):
        assert message.split()[-3:] == FINDINGS[code][1].split()[-3:]
    assert (CODES[codes[0]].exit_code if codes else 0) == result.code


def test_a_deploy_to_another_deployment_than_the_expected_one_is_refused(project: Project) -> None:
    project.policy(f'default = "prod"\n{TOML}deployment = "{DEPLOYMENT}"\n')
    assert [] == said(project.exec("astro", "deploy", DEPLOYMENT))
    for name, shown in (("cldep0staging", "cldep0staging"), ("\x1b[31mx y", "another")):
        result = project.exec("astro", "deploy", "--dags", name)
        message = (
            f"astro deploy goes to deployment {shown}, which the command names, and prod is for {DEPLOYMENT}"
        )
        assert (65, "", [("error", message)]) == (result.code, result.stdout, said(result))
        assert (
            f"astro-token: hint: name {DEPLOYMENT} on the command line, "
            "or use the token of the deployment that is named\n" in result.stderr
        )
    lowered = {"ASTRO_TOKEN_POLICY_DEPLOY": "project-deployment=warning"}
    assert (0, "warning") == (
        (result := project.exec("astro", "deploy", "cldep0staging", env=lowered)).code,
        said(result)[0][0],
    )


def test_the_file_cannot_lower_what_the_environment_s_policy_requires(project: Project) -> None:
    lowered = '[policy.deploy]\nproject-deployment = "off"\nother-workspace = "off"\n'
    project.policy(f'default = "prod"\n{TOML}{lowered}')
    token = make_token(workspace=WORKSPACE, deployment=DEPLOYMENT)
    project.program.canaries.append(token)
    for command, floor in (
        (("cldep0staging",), {"DEPLOYMENT": DEPLOYMENT}),
        ((DEPLOYMENT, "--workspace-id", "clother"), {"WORKSPACE": WORKSPACE}),
    ):
        run = ("astro", "deploy", *command)
        assert (0, []) == ((result := project.exec(*run, env={"TOKEN": token})).code, said(result))
        env = {"TOKEN": token} | {f"ASTRO_TOKEN_POLICY_{name}": text for name, text in floor.items()}
        result = project.exec(*run, env=env)
        assert (65, "", ["error"]) == (result.code, result.stdout, [level for level, _ in said(result)])


# -- where nothing is looked at -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "astro version",
        "astro deployment list",
        "astro deploy --help",
        "astro --verbosity deploy",
        "sh -c astro\\ deploy",
        "my-astro deploy",
    ],
)
def test_other_commands_are_started_without_a_look_at_the_project(project: Project, command: str) -> None:
    changed(project)
    for name in ("sh", "my-astro"):
        project.script(name, "echo started")
    words = [word.replace("\\", "") for word in command.split(" ")]
    result = project.exec(*words, env={"ASTRO_TOKEN_POLICY_DEPLOY": "uncommitted=error"})
    assert (0, "") == (result.code, result.stderr)


@pytest.mark.parametrize("astro", ["astro", "BIN/astro", "--"])
def test_the_program_is_known_by_its_name_wherever_it_lies(project: Project, astro: str) -> None:
    changed(project)
    words = ["astro", "--verbosity", "debug"] if astro == "--" else [astro.replace("BIN", str(project.bin))]
    assert 1 == len(said(project.exec(*words, "deploy")))


def test_outside_of_a_project_the_cli_speaks_for_itself(project: Project) -> None:
    every = {"ASTRO_TOKEN_POLICY_DEPLOY": ",".join(f"{code}=error" for code in CODES)}
    organization_token(project)
    assert Result(0, STARTED, "") == project.exec("astro", "deploy", env=every, cwd=project.program.temporary)
    (project.folder / ".astro").rename(project.folder / "astro")
    assert Result(0, STARTED, "") == project.exec("astro", "deploy", env=every)
    (project.folder / "astro").rename(project.folder / ".astro")
    # The home is no project to the CLI, whatever lies in it.
    assert Result(0, STARTED, "") == project.exec(
        "astro", "deploy", env={**every, "HOME": str(project.folder)}
    )
    assert 65 == project.exec("astro", "deploy", env=every).code


def test_a_token_that_is_refused_is_all_that_is_told(project: Project) -> None:
    changed(project)
    result = project.exec("astro", "deploy", env={"TOKEN": make_token(expires_in=-60)})
    assert (65, "", []) == (result.code, result.stdout, said(result))


@pytest.mark.parametrize("code", ["plain-http", "other-api", "config-unread"])
@pytest.mark.parametrize("command", [["astro", "deploy"], ["bash", "-c", "astro deploy"], ["make"]])
def test_a_project_that_could_redirect_the_astro_cli_is_refused_before_the_token_is_read(
    project: Project, code: str, command: list[str]
) -> None:
    FINDINGS[code][0](project)
    for name in ("bash", "make"):
        project.script(name, "echo started")
    # The token's variable is not set: it is not looked at.
    result = project.exec(*command, env={"ASTRO_TOKEN_POLICY_DEPLOY": f"{code}=off", "TOKEN": ""})
    assert (78, "", []) == (result.code, result.stdout, said(result))
    assert FINDINGS[code][1] in result.stderr


def test_a_signal_while_git_is_asked_ends_us_and_starts_nothing(
    project: Project, start: Callable[..., Background]
) -> None:
    asked = project.home / "asked"
    project.script("git", f"echo > {asked}; exec /bin/sleep 60")
    running = start(
        "exec",
        "env:TOKEN",
        "--",
        "astro",
        "deploy",
        env={"PATH": str(project.bin), "TOKEN": project.canary},
        cwd=project.folder,
    )
    wait_until(asked.exists)
    running.send(signal.SIGTERM)
    assert Result(143, "", "") == running.finish()


# -- its cost -------------------------------------------------------------------------------------------


def test_it_is_imported_for_the_deploy_only_and_git_asked_only_where_it_matters(project: Project) -> None:
    def imported(*command: str) -> bool:
        shown = project.exec(*command, env={"PYTHONPROFILEIMPORTTIME": "1"}).stderr
        assert "astro_token.environment.cli_config" in shown
        return "astro_token.deploy" in shown

    project.script("make", "echo made")
    assert [False, False, True] == [
        imported("make", "deploy"),
        imported("astro", "version"),
        imported("astro", "deploy"),
    ]
    project.script("git", f"echo asked >> {project.home}/asked; exit 1")
    project.exec("astro", "deploy", "-f")
    project.exec("astro", "deploy", env={"ASTRO_TOKEN_POLICY_DEPLOY": "uncommitted=off,git-unknown=off"})
    assert not (project.home / "asked").exists()
    project.exec("astro", "deploy")
    assert (project.home / "asked").exists()


def test_what_git_is_asked_does_not_see_the_token(project: Project) -> None:
    real = shutil.which("git")
    note = project.home / "note"
    project.script("git", f'/usr/bin/env >> {note}; exec {real} "$@"')
    assert Result(0, STARTED, "") == project.exec("astro", "deploy")
    assert {"LC_ALL", "PATH", "HOME"} <= {line.partition("=")[0] for line in note.read_text().splitlines()}
    assert "TOKEN" not in note.read_text()
