"""The forms of a remote's address, and git's configuration as git itself writes it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.init.remote import choose, default_branch, parse, remotes
from tests.cli.test_init import git
from tests.rows import each_row

if TYPE_CHECKING:
    from pathlib import Path


@each_row(
    ("address", "host", "path"),
    [
        ("https://github.com/acme/dags", "github.com", "acme/dags"),
        ("https://github.com/acme/dags.git/", "github.com", "acme/dags"),
        ("https://x-access-token:hunter2@github.com/acme/dags.git", "github.com", "acme/dags"),
        ("https://GitHub.com:443/acme/dags", "github.com", "acme/dags"),
        ("git@github.com:acme/dags.git", "github.com", "acme/dags"),
        ("github.com:acme/dags", "github.com", "acme/dags"),
        ("ssh://git@ssh.github.com:443/acme/dags.git", "github.com", "acme/dags"),
        ("ssh://git@git.acme.io:2222/data/team/dags.git", "git.acme.io", "data/team/dags"),
        ("https://git.acme.io:8443/data/team.x/dags", "git.acme.io:8443", "data/team.x/dags"),
        ("git+ssh://git@git.acme.io/a/b", "git.acme.io", "a/b"),
    ],
)
def test_an_address(address: str, host: str, path: str) -> None:
    remote = parse("origin", address)
    assert remote is not None
    assert (host, path) == (remote.host, remote.path)
    assert ("hunter2" in repr(remote), remote.is_alias) == (False, False)


@pytest.mark.parametrize("address", ["git@github-work:acme/dags.git", "gh:acme/dags", "ssh://work/acme/dags"])
def test_a_host_of_ssh_s_or_git_s_configuration(address: str) -> None:
    remote = parse("origin", address)
    web = parse("origin", "https://gitlab/acme/dags")
    assert (remote is not None, web is not None) == (True, True)
    assert (remote.is_alias, web.is_alias) == (True, False)  # type: ignore[union-attr]


@each_row(
    "address",
    [
        "/srv/dags.git", "../dags", "file:///srv/a/b", "C:\\a\\b", "https://github.com/acme", "https://g.com/a/../b",
        "git@github.com:acme/da gs", "https://github.com/acme/$(id)", "https://-x/a/b", "ext::sh -c id", "",
        "https://github.com/acme/dags?x=y", "https://github.com/acme/.",
    ],
)  # fmt: skip
def test_no_address(address: str) -> None:
    assert parse("origin", address) is None


def test_git_s_own_configuration(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "remote", "add", "origin", "https://github.com/eve/dags")
    git(root, "remote", "add", "up.stream", "git@github.com:acme/dags.git")
    git(root, "config", "remote.origin.pushurl", "https://push.example.com/a/b")
    git(root, "config", "branch.main.remote", "origin")
    listed = {name: git(root, "remote", "get-url", name).strip() for name in git(root, "remote").split()}
    assert listed == remotes(root)
    assert "main" == default_branch(root, "origin")
    git(root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk/1")
    assert "trunk/1" == default_branch(root, "origin")
    # A linked working tree has the configuration of its repository.
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
    subprocess.run(["git", "worktree", "add", "-q", "../linked"], cwd=root, check=True, capture_output=True)
    assert listed == remotes(tmp_path / "linked")
    assert ("eve/dags", "trunk/1") == (
        choose(tmp_path / "linked", None).path,
        default_branch(tmp_path / "linked", "origin"),
    )
