"""Nothing is written to the project's folder: by no command, with whatever outcome."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.deploy_project import Project, make, tree
from tests.servers.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi
    from tests.servers.certificates import Certificates

# `put` writes where its reference says, and `export --output` to the file that it names.
LINES = """
exec prod -- astro deployment list
exec prod -- astro deploy --dags
exec --no-isolate prod -- astro version
exec --mask prod -- sh -c exit\\ 3
exec --online prod -- astro workspace list
exec prod -- no-such-command
exec lost -- astro deploy
export prod --format json
export prod --format github
export --explain prod
export lost
check
check --all --format json
check --deploy prod
check --deploy --path . prod --format json
check --online prod
check --deploy --online --all
check lost
audit
create prod
rotate --all
rotate --dry-run prod
revoke prod
backends
backends --format json
completion bash
completion zsh
completion fish
completion tcsh
completion powershell
completion tokens
completion keys
init --backend vault --ci github --dry-run
install-cli
install-cli --lock
doctor
doctor prod --format json
--version
--help
check --help
check --no-such-option
"""
TOML = """\
default = "prod"
[policy.deploy]
no-docker = "error"
[tokens.prod]
ref = "env:TOKEN"
[tokens.lost]
ref = "file:lost.age"
[astro-cli]
version = "1.45.0"
"""


@pytest.fixture
def project(program: Program, canary: str, tmp_path: Path, astro_api: AstroApi) -> Project:
    """One that git would write to if it were let: its index no longer knows when the files were changed."""
    made = make(program, canary, tmp_path)
    made.env["TOKEN"] = astro_api.issue()
    made.env["ASTRO_TOKEN_API_URL"] = astro_api.url
    program.canaries.append(made.env["TOKEN"])
    made.script("sh", 'exec /bin/sh "$@"')
    # The CLI's own `git diff` writes to the index, and what a command does there is its own affair.
    made.script("astro", "echo Astro CLI Version: 1.45.0")
    made.policy(TOML)
    made.write("dags/etl.py", "# changed\n")
    made.write("dags/untracked.py", "# new\n")
    os.utime(made.folder / "Dockerfile", (1, 1))
    return made


def test_no_command_changes_a_name_a_mode_a_content_or_a_time(
    project: Project, certificates: Certificates
) -> None:
    before = tree(project.folder)
    done = set()
    with Releases(certificates.server.context()) as releases:
        releases.publish("1.45.0")
        env = {
            "PATH": str(project.bin),
            "ASTRO_TOKEN_CLI_RELEASES_URL": releases.url,
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
            "GITHUB_ENV": str(project.program.temporary / "env"),
            **project.env,
        }
        for line in LINES.strip().splitlines():
            words = [word.replace("\x00", " ") for word in line.replace("\\ ", "\x00").split(" ")]
            printed = ("stdout", project.program.temporary / "env")
            allowed = printed if words[0] == "export" else ()
            project.program(*words, env=env, cwd=project.folder, allowed=allowed)
            assert before == tree(project.folder), line
            (project.program.temporary / "env").unlink(missing_ok=True)
            done.add(words[0])
    from astro_token.cli.parser import _COMMANDS

    assert set(_COMMANDS) - {"put"} == done - {"--version", "--help"}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new").touch(),
        lambda folder: (folder / ".git" / "index.lock").touch(),
        lambda folder: (folder / "Dockerfile").chmod(0o600),
        lambda folder: (folder / "Dockerfile").write_text("other"),
        lambda folder: os.utime(folder / "Dockerfile", (2, 2)),
        lambda folder: (folder / "dags" / "etl.py").unlink(),
    ],
)
def test_the_comparison_would_see_it(project: Project, change: Callable[[Path], object]) -> None:
    before = tree(project.folder)
    assert before == tree(project.folder)
    change(project.folder)
    assert before != tree(project.folder)


def test_git_itself_would_write_to_this_one(project: Project) -> None:
    before = tree(project.folder)
    project.git("status")
    assert before != tree(project.folder)
