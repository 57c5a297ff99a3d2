"""The pre-deploy recipes, run in a project as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.cli.parser import parse
from astro_token.testing import make_token
from tests.cli.deploy_project import Project, make
from tests.conftest import BASE, PROGRAM, ROOT

if TYPE_CHECKING:
    from tests.conftest import Program

RECIPES = ROOT / "examples" / "pre-deploy"
COMMANDS = {
    "Makefile": ["make", "--no-print-directory", "-f", str(RECIPES / "Makefile")],
    "deploy.sh": [str(RECIPES / "deploy.sh")],
    "deploy.py": [sys.executable, str(RECIPES / "deploy.py")],
    "justfile": [
        str(Path(sys.executable).parent / "just"),
        "--justfile",
        str(RECIPES / "justfile"),
        "--working-directory",
        ".",
    ],
}
CHECKING = ("Makefile", "justfile")  # before they deploy
DEPLOYMENT = "cldep00000000000000000"
# Stands for the Astro CLI: says its version, and whether it has the token that it should have.
ASTRO = """\
case $1 in
version) echo 'Astro CLI Version: 1.45.0' ;;
*)
  echo "astro $*"
  test -n "$ASTRO_HOME" || echo 'not isolated'
  printf %s "$ASTRO_API_TOKEN" | cmp -s - "$EXPECTED" && touch "$DEPLOYED"
  exit 5
  ;;
esac"""


@pytest.fixture
def project(program: Program, canary: str, tmp_path: Path) -> Project:
    made = make(program, canary, tmp_path)
    made.script("astro", ASTRO)
    made.policy('[tokens.prod]\nref = "env:TOKEN"\n[tokens.staging]\nref = "env:STAGING"\n')
    expected = tmp_path / "expected"
    expected.write_text(canary)
    made.env = {
        "PATH": f"{made.bin}:{PROGRAM.parent}:{BASE['PATH']}",
        "EXPECTED": str(expected),
        "DEPLOYED": str(tmp_path / "deployed"),
    }
    return made


def run(project: Project, name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMANDS[name], *arguments],
        cwd=project.folder, env=project.program.environment({**project.env, **environ}),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert project.canary not in done.stdout + done.stderr
    return done


def deployed(project: Project) -> bool:
    return Path(project.env["DEPLOYED"]).exists()


def test_there_is_no_recipe_that_nobody_tests() -> None:
    assert COMMANDS.keys() == {path.name for path in RECIPES.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recipe_deploys_with_the_token(project: Project, name: str) -> None:
    done = run(project, name, TOKEN=project.canary)
    assert deployed(project), done.stderr
    assert f"astro deploy --dags {DEPLOYMENT}\n" in done.stdout
    assert "not isolated" not in done.stdout
    # The status of the deploy is the recipe's; make has one of its own for all.
    assert (2 if name == "Makefile" else 5) == done.returncode


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recipe_does_not_deploy_with_an_expired_token(project: Project, name: str) -> None:
    done = run(project, name, TOKEN=make_token(expires_in=-60))
    assert (2 if name == "Makefile" else 65) == done.returncode, done.stderr
    assert "expired" in done.stderr
    assert "astro deploy --dags" not in re.sub("-- astro.*", "", done.stdout)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("Makefile", "TOKEN_NAME=staging DEPLOYMENT=cldep1"),
        ("deploy.sh", "staging cldep1"),
        ("justfile", "deploy staging cldep1"),
    ],
)
def test_a_recipe_takes_another_token_and_deployment(project: Project, name: str, argument: str) -> None:
    done = run(project, name, *argument.split(), TOKEN=make_token(), STAGING=project.canary)
    assert deployed(project)
    assert "astro deploy --dags cldep1\n" in done.stdout


@pytest.mark.parametrize("name", CHECKING)
def test_a_recipe_that_checks_does_not_deploy_a_project_without_dags(project: Project, name: str) -> None:
    (project.folder / "dags" / "etl.py").unlink()
    done = run(project, name, TOKEN=project.canary)
    assert done.returncode != 0
    assert "astro-token exec" not in done.stdout + done.stderr
    assert not deployed(project)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_named_is_never_run(project: Project, name: str) -> None:
    evil = "x$(touch pwned)`touch pwned`; touch pwned #"
    arguments = {"Makefile": [f"TOKEN_NAME={evil.replace('$', '$$')}"], "justfile": ["deploy", evil]}
    done = run(project, name, *arguments.get(name, [evil]), TOKEN=make_token())
    assert done.returncode != 0
    assert not (project.folder / "pwned").exists()
    assert not deployed(project)


def test_the_recipes_of_just_are_those_of_make() -> None:
    """Line by line, with the parameter in place of the variable; just's own quoting in place of ours."""
    text = (RECIPES / "justfile").read_text()
    pattern = r"^([a-z-]+) token=\"prod\"(?: deployment=\"\w+\")?:(?: \(([a-z-]+) token\))?$"
    headers = re.findall(pattern, text, re.MULTILINE)
    assert [("deploy", "pre-deploy"), ("pre-deploy", "")] == headers
    commands = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    made = re.findall(r"^\t(\S.*)$", (RECIPES / "Makefile").read_text(), re.MULTILINE)
    names = {"{{ quote(token) }}": "'$(TOKEN_NAME)'", "{{ quote(deployment) }}": "'$(DEPLOYMENT)'"}
    pattern = "|".join(map(re.escape, names))
    assert made == [re.sub(pattern, lambda match: names[match[0]], line) for line in commands]
    for line in commands:
        parse(re.sub(pattern, "prod", line).split()[1:])
