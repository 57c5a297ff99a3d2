"""The files for GitLab, run by gitlab-ci-local: its parser, rules, `extends` and shell executor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.test_examples import CI

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RUNNER = "gitlab-ci-local@4.52.0"  # later versions need a later Node
BACKENDS = ("vault", "aws", "gcp", "azure", "file")
# It writes its arguments.
STAND_IN = '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n'


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not all(map(shutil.which, ("npm", "rsync"))) and not os.environ.get("CI"):
        pytest.skip("needs npm and rsync")
    folder = tmp_path_factory.mktemp("runner")
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", RUNNER], cwd=folder, check=True
    )
    return folder / "node_modules" / ".bin" / "gitlab-ci-local"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder, programs = tmp_path / "dags", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("pip", "astro-token", "apt-get"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "https://gitlab.com/acme/dags.git")
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *arguments], cwd=folder, check=True)


def calls(runner: Path, project: Path, branch: str, source: str) -> list[str]:
    """Run the pipeline of a branch, and return the calls of the stand-ins."""
    git(project, "checkout", "-q", "-B", branch)
    log = project.parent / "calls"
    log.write_text("")
    done = subprocess.run(
        [runner, "--home", project.parent / "home", "--variable", f"CI_PIPELINE_SOURCE={source}"],
        cwd=project,
        env={**os.environ, "CALLS": str(log), "PATH": f"{project.parent}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text().splitlines()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_branch_deploys_with_its_own_token_and_other_pipelines_do_not(
    runner: Path, project: Path, backend: str
) -> None:
    text = (CI / "gitlab" / f"{backend}.yml").read_text()
    # There is no container engine: a job without an image runs in a shell.
    (project / ".gitlab-ci.yml").write_text(re.sub(r"(?m)^ *image: .*\n", "", text))
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "x")
    for branch, deployment in (("dev", "cldev00000000000000000"), ("main", "cldep00000000000000000")):
        deploys = [line for line in calls(runner, project, branch, "push") if " exec " in line]
        (deploy,) = deploys
        token = "dev" if branch == "dev" else "prod"
        assert deploy.endswith(f"-- astro deploy --dags {deployment}")
        assert token in deploy.partition(" -- ")[0]
        assert [] == calls(runner, project, branch, "merge_request_event")
    assert [] == calls(runner, project, "feature", "push")
