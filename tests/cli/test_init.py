"""`init`: files, diffs, questions at a terminal, and bad input, by the real program in a repository."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from astro_token.settings.project_file import find_project
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program

GIVEN = ("init", "--backend", "vault", "--ci", "github")
BOTH = (*GIVEN, "--environment", "dev", "--environment", "prod")
WRITTEN = [
    ".github/workflows/astro-token-check.yml",
    ".github/workflows/deploy.yml",
    "astro-token-setup/environments.sh",
    "astro-token-setup/vault.sh",
    "astro-token.toml",
]
FILE = "[policy]\nrequire_expiry = true\n"


def git(folder: Path, *words: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if ".git" not in path.relative_to(folder).parts and not path.is_dir()
    }


@pytest.fixture
def repository(program: Program) -> Path:
    git(program.work, "init", "-q", "-b", "main")
    git(program.work, "remote", "add", "origin", "git@github.com:acme/dags.git")
    return program.work


def test_the_files_of_two_environments(program: Program, repository: Path) -> None:
    result = program(*BOTH)
    assert (0, WRITTEN) == (result.code, list(content(repository))), result.stderr
    commands = result.stdout.splitlines()
    assert [
        "sh astro-token-setup/environments.sh && sh astro-token-setup/vault.sh",
        'for token in dev prod; do astro-token put "$token"; done',
    ] == commands[:2]
    assert (3, True) == (len(commands), commands[2].startswith("git add .github/workflows/deploy.yml "))
    tokens = find_project(repository).tokens
    assert {"dev", "prod"} == tokens.keys()
    assert "vault:secret/astro/acme-dags/prod#token" == str(tokens["prod"].ref)
    assert "lines marked CHANGE in .github/workflows/deploy.yml" in result.stderr
    assert "leaves out dev: GitHub schedules the default branch only" in result.stderr
    made = [path for path in repository.rglob("*") if ".git" not in path.parts]
    assert {path: 0o755 if path.is_dir() else 0o644 for path in made} == {
        path: path.stat().st_mode & 0o777 for path in made
    }


def test_the_examples_of_the_help_work(program: Program, repository: Path) -> None:
    examples = re.findall(r"^  astro-token (init --.+)", program("init", "--help").stdout, re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        host = "gitlab.com" if "gitlab" in example else "github.com"
        git(repository, "remote", "set-url", "origin", f"git@{host}:acme/dags")
        assert 0 == program(*example.split()).code


def test_backend_and_system_suffice(program: Program, repository: Path) -> None:
    result = program(*GIVEN)
    assert 0 == result.code, result.stderr
    workflow = yaml.safe_load((repository / ".github/workflows/deploy.yml").read_text())
    assert ["prod"] == list(workflow["jobs"])
    assert "astro-token put prod" == result.stdout.splitlines()[1]
    assert "  # CHANGE\n" in (repository / ".github/workflows/deploy.yml").read_text()


def test_a_dry_run_prints_a_diff_that_git_applies(program: Program, repository: Path) -> None:
    result = program(*BOTH, "--dry-run")
    assert (0, {}) == (result.code, content(repository))
    assert "would write astro-token.toml\n" in result.stderr
    (program.home / "patch").write_text(result.stdout)
    git(repository, "apply", str(program.home / "patch"))
    applied = content(repository)
    for name in applied:
        (repository / name).unlink()
    program(*BOTH)
    assert applied == content(repository)


def test_nothing_is_overwritten_and_what_is_missing_is_added(program: Program, repository: Path) -> None:
    workflow = repository / ".github" / "workflows" / "deploy.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("name: ours\n")
    result = program(*BOTH)
    assert (0, "name: ours\n") == (result.code, workflow.read_text())
    assert WRITTEN == list(content(repository))
    assert "deploy.yml exists, and stays as it is; the text to add to it follows" in result.stderr
    assert "# for .github/workflows/deploy.yml:\n# Deploys the branches dev and main" in result.stdout
    before = content(repository)
    again = program(*BOTH)
    assert (0, before) == (again.code, content(repository))
    assert "astro-token-setup/vault.sh is there already\n" in again.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_an_existing_project_file_stays(program: Program, repository: Path, *, shared: bool) -> None:
    name, prefix = ("pyproject.toml", "tool.astro-token.") if shared else ("astro-token.toml", "")
    text = f'[{prefix}tokens.dev]\nref = "env:DEV"\n'
    (repository / name).write_text(text)
    (repository / name).chmod(0o600)
    result = program(*BOTH)
    assert (0, text) == (result.code, (repository / name).read_text())
    assert sorted({*WRITTEN, name} - ({"astro-token.toml"} if shared else set())) == list(content(repository))
    added = result.stdout.partition(f"# for {name}:\n")[2].partition("\nsh ")[0]
    assert f"[{prefix}policy]\nrequire_expiry = true" in added
    assert f"[{prefix}tokens.dev]" not in added
    (repository / name).write_text(text + added)
    assert {"dev", "prod"} == find_project(repository).tokens.keys()


def test_values_of_the_login_and_of_the_project_are_taken_over(program: Program, repository: Path) -> None:
    (repository / "pyproject.toml").write_text(
        '[tool.astro]\nworkspace = "clws0"\n[tool.astro.deployments.prod]\ndeployment = "cldep1"\n'
    )
    result = program(*GIVEN, env={"VAULT_ADDR": "https://vault.acme.io:8200/"})
    assert 0 == result.code, result.stderr
    workflow = yaml.safe_load((repository / ".github/workflows/deploy.yml").read_text())
    assert "https://vault.acme.io:8200" == workflow["env"]["VAULT_ADDR"]
    assert "cldep1" == workflow["jobs"]["prod"]["env"]["DEPLOYMENT"]
    expected = find_project(repository).tokens["prod"].expected
    assert ("clws0", "cldep1") == (expected.workspace, expected.deployment)
    hostile = program(*GIVEN, "--dry-run", env={"VAULT_ADDR": "https://x\n      - run: evil"})
    assert "evil" not in hostile.stdout + hostile.stderr


def test_a_project_in_a_folder(program: Program, repository: Path) -> None:
    project = repository / "airflow" / "dags-a"
    (project / ".astro").mkdir(parents=True)
    (project / ".astro" / "config.yaml").write_text("project:\n  name: a\n")
    result = program(*GIVEN)
    assert 0 == result.code, result.stderr
    assert (project / "astro-token.toml").exists()
    assert result.stdout.startswith("cd airflow/dags-a\nsh astro-token-setup/environments.sh && ")
    assert "git add ../../.github/workflows/deploy.yml " in result.stdout
    text = (repository / ".github/workflows/deploy.yml").read_text()
    assert 'run: cd airflow/dags-a && astro-token exec "$REF" -- ' in text
    assert "astro/acme-dags-airflow-dags-a-" in (project / "astro-token.toml").read_text()


def test_a_script_of_somebody_else_is_not_among_the_commands(program: Program, repository: Path) -> None:
    """A repository may bring a script of this name, which its reader would run with an operator's rights."""
    script = repository / "astro-token-setup" / "vault.sh"
    script.parent.mkdir()
    script.write_text("evil\n")
    result = program(*GIVEN)
    assert (0, "evil\n") == (result.code, script.read_text())
    commands = result.stdout.splitlines()[-3:]
    assert ["sh astro-token-setup/environments.sh", "astro-token put prod"] == commands[:2]
    assert "vault.sh" not in commands[2]
    assert "warning: astro-token-setup/vault.sh is not what init writes" in result.stderr
    assert "hint: read it before you run it" in result.stderr
    assert "# for astro-token-setup/vault.sh:\n#!/bin/sh\n" in result.stdout
    assert "deploy.yml, .github/workflows/astro-token-check.yml\n" in result.stderr  # no mark in that script


def test_a_token_that_is_stored_elsewhere_is_shown(program: Program, repository: Path) -> None:
    (repository / "astro-token.toml").write_text('[tokens.prod]\nref = "vault:kv/ours#token"\n')
    (repository / "astro-token.toml").chmod(0o600)
    result = program(*GIVEN)
    warning = (
        "the token prod is at vault:kv/ours#token already, and not at vault:secret/astro/acme-dags/prod#token"
    )
    assert (0, True) == (result.code, f"warning: {warning}\n" in result.stderr), result.stderr
    for backend in ("vault", "aws", "gcp", "azure", "file"):  # the same again is not another one
        (repository / "astro-token.toml").unlink()
        words = ("init", "--backend", backend, "--ci", "github")
        program(*words)
        assert "already, and not at" not in program(*words).stderr


def test_a_role_that_binds_a_name_only_is_pointed_out(program: Program, repository: Path) -> None:
    note = (
        "astro-token: --repository-id N binds the repository itself: "
        "remove the scripts, and run init again with it\n"
    )
    assert note in program(*GIVEN, "--dry-run").stderr
    assert note not in program(*GIVEN, "--dry-run", "--repository-id", "456789").stderr


def test_the_branches_are_shown(program: Program, repository: Path) -> None:
    stderr = program(*BOTH, "--environment", "qa=release/1", "--dry-run").stderr
    assert "of one branch: dev=dev, prod=main, qa=release/1 (change it with --environment)\n" in stderr


def test_the_commands_fit_the_folder_and_a_repeated_run(program: Program, repository: Path) -> None:
    project = repository / "airflow" / "a"
    (project / ".astro").mkdir(parents=True)
    (project / ".astro" / "config.yaml").write_text("project:\n  name: a\n")
    patch = program(*GIVEN, "--dry-run", cwd=project)
    assert f"`git apply` takes the diff in the folder {repository}\n" in patch.stderr
    first = program(*GIVEN, cwd=project)
    again = program(*GIVEN, cwd=project)
    assert (0, sorted(first.stdout.split())) == (
        again.code,
        sorted(again.stdout.split()),
    )  # none is committed yet
    assert first.stdout.startswith("sh astro-token-setup/environments.sh && ")
    marks = "change the lines marked CHANGE in .github/workflows/deploy.yml, "
    assert (True, True) == (marks in again.stderr, "airflow/a/astro-token-setup/vault.sh\n" in again.stderr)
    assert program(*GIVEN, cwd=project.parent).stdout.startswith("cd a\nsh ")


# -- at a terminal -----------------------------------------------------------------------------------------


def test_a_person_is_asked_for_what_is_missing(program: Program, repository: Path) -> None:
    with Terminal(
        [str(PROGRAM), "init"], env=program.environment({"AWS_REGION": "eu-west-3"}), cwd=repository
    ) as at:
        at.wait_for("backend (vault, aws, gcp, azure, file) [aws]: ")
        assert at.echoes()
        at.type("valut\n")
        at.wait_for("there is no such backend")
        at.wait_for("[aws]: ")
        at.type("\n")
        at.wait_for("woodpecker) [github]: ")
        at.type("gitlab\n")
        at.wait_for("environments, separated by blanks [prod]: ")
        at.type("dev prod=release\n")
        assert 78 == at.finish()
    assert "GitLab CI does not run jobs of github.com, where the remote origin is" in at.shown
    assert {} == content(repository)
    with Terminal([str(PROGRAM), "init", "--ci", "github"], env=program.environment(), cwd=repository) as at:
        at.wait_for("[vault]: ")
        at.type("file\n")
        at.wait_for("[prod]: ")
        at.type("dev prod=release\n")
        assert 0 == at.finish(), at.shown
    workflow = yaml.safe_load((repository / ".github/workflows/deploy.yml").read_text())
    assert {"push": {"branches": ["dev", "release"]}} == workflow[True]
    assert "AWS" not in str(workflow)


def test_nobody_answers(program: Program, repository: Path) -> None:
    with Terminal([str(PROGRAM), "init"], env=program.environment(), cwd=repository) as at:
        for _ in range(3):
            at.wait_for("[vault]: ")
            at.type("none\n")
        assert 64 == at.finish()
    assert "no backend was chosen" in at.shown
    assert {} == content(repository)


def test_the_end_of_the_input_accepts_no_default(program: Program, repository: Path) -> None:
    with Terminal([str(PROGRAM), "init"], env=program.environment(), cwd=repository) as at:
        at.wait_for("[vault]: ")
        at.type("\x04")
        assert 64 == at.finish()
    assert "the input ended, and nothing was written" in at.shown
    assert {} == content(repository)


# -- bad input ---------------------------------------------------------------------------------------------


def refused(program: Program, *words: str, code: int, message: str, **options: object) -> None:
    before = content(program.work)
    result = program(*words, **options)  # type: ignore[arg-type]
    lines = [line for line in result.stderr.splitlines() if "the repository is" not in line]
    assert (code, "", 2) == (result.code, result.stdout, len(lines)), result.stderr
    assert lines[0].startswith("astro-token: error: ")
    assert message in lines[0]
    assert lines[1].startswith("astro-token: hint: ")
    assert before == content(program.work)


@pytest.mark.parametrize("words", [("init",), ("init", "--backend", "vault"), ("init", "--ci", "github")])
def test_no_terminal_and_too_few_options(program: Program, repository: Path, words: tuple[str, ...]) -> None:
    refused(program, *words, code=64, message="without a terminal, init needs --backend and --ci")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--environment", "Prod"], "the name of an environment is malformed"),
        (["--environment", "on"], "the name of an environment is malformed or reserved"),
        (["--environment", "$(id)"], "the name of an environment is malformed"),
        (["--environment", "prod=a b"], "the branch of an environment is malformed"),
        (["--environment", "prod=-x"], "the branch of an environment is malformed"),
        (["--environment", "prod", "--environment", "prod"], "the environment prod is given twice"),
        (["--repository-id", "x"], "--repository-id is not a number"),
        (["--owner-id", "0"], "--owner-id is not a number"),
        (["--remote", "nobody"], "--remote names no remote"),
        (
            ["--ci", "drone", "--environment", "dev", "--environment", "prod"],
            "the file for Drone has one environment",
        ),
        (["--ci", "drone", "--backend", "file"], "init writes no files for Drone with encrypted files"),
    ],
)
def test_options(program: Program, repository: Path, options: list[str], message: str) -> None:
    refused(program, *GIVEN, *options, code=64, message=message)


def test_no_repository_and_no_remote(program: Program) -> None:
    refused(program, *GIVEN, code=78, message="is not in a git repository")
    git(program.work, "init", "-q")
    refused(program, *GIVEN, code=78, message="the repository has no remote")
    git(program.work, "remote", "add", "origin", "/srv/dags.git")
    refused(
        program, *GIVEN, code=78, message="the address of the remote origin names no repository of a server"
    )
    git(program.work, "remote", "set-url", "origin", "https://gitlab.com/acme/dags")
    refused(program, *GIVEN, code=78, message="GitHub Actions does not run jobs of gitlab.com")


def test_several_remotes(program: Program, repository: Path) -> None:
    git(repository, "remote", "rename", "origin", "first")
    git(repository, "remote", "add", "second", "https://u:hunter2@ghe.acme.io:8443/data/dags.git")
    refused(program, *GIVEN, code=64, message="the repository has several remotes: first, second")
    result = program(*GIVEN, "--remote", "second", "--dry-run")
    assert (0, False) == (result.code, "hunter2" in result.stdout + result.stderr)
    assert "ISSUER=https://ghe.acme.io:8443/_services/token\n" in result.stdout
    git(repository, "remote", "add", "origin", "git@github.com:eve/dags")
    assert "eve/dags at github.com, the remote origin" in program(*GIVEN, "--dry-run").stderr
    git(repository, "remote", "add", "upstream", "git@github.com:acme/dags")
    assert "acme/dags at github.com, the remote upstream" in program(*GIVEN, "--dry-run").stderr


def test_a_monorepo_with_two_projects(program: Program, repository: Path) -> None:
    for name in ("a", "b"):
        (repository / name / ".astro").mkdir(parents=True)
        (repository / name / ".astro" / "config.yaml").touch()
    refused(program, *GIVEN, code=78, message="the repository has several Astro projects: a, b")
    assert 0 == program(*GIVEN, cwd=repository / "b").code
    assert (repository / "b" / "astro-token.toml").exists()


@pytest.mark.parametrize("name", [".github", ".github/workflows", "astro-token-setup"])
def test_a_folder_that_is_a_link_or_a_file(program: Program, repository: Path, name: str) -> None:
    path = repository / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(program.home)
    refused(program, *GIVEN, code=73, message=f"{path} is a link")
    path.unlink()
    path.write_text("")
    refused(program, *GIVEN, code=73, message=f"{path} is not a folder")


def test_a_broken_project_file(program: Program, repository: Path) -> None:
    (repository / "astro-token.toml").write_text("[policy")
    (repository / "astro-token.toml").chmod(0o600)
    refused(program, *GIVEN, code=78, message="astro-token.toml is not valid TOML")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("ulimit -f 0", "file too large"),
        ("mount --bind . . && mount -o remount,ro,bind . && cd .", "read-only file system"),
    ],
)
def test_a_write_that_fails_leaves_nothing(
    program: Program, repository: Path, fault: str, message: str
) -> None:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    done = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", f'cd "$0" && {fault} && cd "$0" && exec "$@"',
         str(repository), str(PROGRAM), *BOTH],
        env=program.environment(), cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert (74, "") == (done.returncode, done.stdout), done.stderr
    assert (True, True) == (message in lines[-2], lines[-1].startswith("astro-token: hint: ")), lines
    assert {".git"} == {path.name for path in repository.iterdir()}
