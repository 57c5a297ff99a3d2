"""What lies in the project's folder, and in the repository around it: odd, hostile, huge, or out of reach."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.deploy import PreflightReport, before_deploy, repository
from astro_token.deploy.cli_home import findings as of_home
from astro_token.deploy.command import Deploy
from astro_token.deploy.destination import Destination, destination_of
from astro_token.deploy.programs import examine_astro
from astro_token.deploy.programs import findings as findings_of_programs
from astro_token.deploy.project_layout import findings as findings_of_layout
from astro_token.deploy.project_layout import layout_of
from astro_token.policy.rules import Expectations, Policy
from astro_token.secret import SecretValue
from astro_token.testing import make_token
from astro_token.token import AstroToken

if TYPE_CHECKING:
    from astro_token.policy.deploy_codes import Finding

GIT = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
DEEP = 1100  # more than Python goes down by recursion


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / ".astro").mkdir(parents=True)
    (folder / ".astro" / "config.yaml").write_text("project:\n    name: demo\n")
    (folder / "Dockerfile").touch()
    (folder / "dags").mkdir()
    (folder / "dags" / "etl.py").touch()
    return folder


def findings(project: Path) -> list[Finding]:
    return [*findings_of_layout(project, Path(), {}, layout_of(project, {}), 1)]


def of_programs(project: Path, environ: dict[str, str], destinations: list[Destination]) -> list[Finding]:
    astro = examine_astro(project, environ, None, destinations)
    return [*findings_of_programs(astro, environ)]


def codes(project: Path) -> list[str]:
    return [finding.code for finding in findings(project)]


def advice(project: Path, dags: str) -> PreflightReport:
    deploy = Deploy(None, dags)
    return before_deploy(
        deploy, project, Destination("prod", "ws", "ws", None, token_read=True), Policy(), environ={}
    )


def nested(folder: Path, name: str) -> None:
    """A file below more folders than Python can name at once."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


@pytest.mark.parametrize(("name", "found"), [("etl.py", []), ("etl.txt", ["no-dags"])])
def test_dags_are_found_however_deep_they_lie(project: Path, name: str, found: list[str]) -> None:
    (project / "dags" / "etl.py").unlink()
    nested(project / "dags", name)
    try:
        assert found == codes(project)
    finally:  # pytest, too, goes down by recursion
        subprocess.run(["rm", "-rf", str(project / "dags")], check=True)


def test_a_folder_with_the_name_of_a_python_file_is_no_dag(project: Path) -> None:
    (project / "dags" / "etl.py").unlink()
    (project / "dags" / "etl.py").mkdir()
    assert ["no-dags"] == codes(project)


def test_a_name_that_the_system_refuses_is_one_that_is_not_there(project: Path) -> None:
    assert ["no-dags"] == [verdict.code for verdict in advice(project, "x" * 5000).verdicts]
    assert () == advice(project / ("x" * 5000), "dags").verdicts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==1.*\na==1.2\n", None),
        ("a==1.0\na==1.0.0\na==1+cpu\n", None),
        ("a==1 --hash=sha256:0\na==1 --hash=sha256:1\n", None),
        ("a==1\na==1" + ".0" * 100_000 + "x\n", None),
        ("a==1.0\na==1.0.1\n", "requirements.txt requires 2 versions of a: the image cannot be built"),
        ("a==10\na==1\n", "requirements.txt requires 2 versions of a: the image cannot be built"),
        (
            "a==1\na==2\na==3\nb==1\nb==2\nc==1\nc==2\n",
            "requirements.txt requires 3 versions of a, and 2 more like that: the image cannot be built",
        ),
    ],
)
def test_requirements_clash_where_no_version_is_both(project: Path, text: str, message: str | None) -> None:
    (project / "requirements.txt").write_text(text)
    assert [message] * (message is not None) == [finding.message for finding in findings(project)]


@pytest.mark.parametrize("where", ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "included"])
def test_a_filter_of_the_user_s_configuration_that_lies_in_the_repository_is_not_run(
    project: Path, tmp_path: Path, where: str
) -> None:
    ran, home = tmp_path / "ran", tmp_path / "user"
    config = project / "ours" / "git" / "config"
    config.parent.mkdir(parents=True)
    config.write_text(f'[filter "it"]\n    clean = "touch {ran}; cat"\n')
    home.mkdir()
    environ = {**GIT, "HOME": str(home)}
    if where == "HOME":
        config = config.rename(project / "ours" / ".gitconfig")
        environ["HOME"] = str(config.parent)
    elif where == "included":
        (home / ".gitconfig").write_text(f"[include]\n    path = {config}\n")
    else:
        environ[where] = str(config if where == "GIT_CONFIG_GLOBAL" else config.parent.parent)
    (project / ".gitattributes").write_text("*.py filter=it\n")

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@localhost")
        subprocess.run(["git", *who, *arguments], cwd=project, env=environ, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "-m", "x")
    ran.unlink(missing_ok=True)
    os.utime(project / "dags" / "etl.py", (1, 1))
    assert [] == repository.findings(project, environ)
    assert not ran.exists()
    git("status")
    assert ran.exists(), "the trap would have caught nothing"


def test_an_astro_outside_of_the_checkout_finds_no_program_inside_of_it(
    project: Path, tmp_path: Path
) -> None:
    """Such as a wrapper of a version's switch, or a script that looks for its interpreter."""
    ran = tmp_path / "ran"
    for path, text in (
        (tmp_path / "bin" / "astro", "switch; echo Astro CLI Version: 1.45.0"),
        (project / "tools" / "switch", f"touch {ran}"),
    ):
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:{project}/tools:tools:/usr/bin:/bin", "XDG_RUNTIME_DIR": ""}
    assert set() == {finding.code for finding in of_programs(project, environ, [])} - {"no-docker"}
    assert not ran.exists()
    subprocess.run(["astro"], env=environ, check=True, capture_output=True)
    assert ran.exists(), "the trap would have caught nothing"


def test_an_astro_below_a_folder_that_is_no_checkout_is_asked(tmp_path: Path) -> None:
    astro = tmp_path / ".local" / "bin" / "astro"
    astro.parent.mkdir(parents=True)
    astro.write_text("#!/bin/sh\necho Astro CLI Version: 1.45.0\n")
    astro.chmod(0o755)
    environ = {"PATH": f"{astro.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": ""}
    (tmp_path / ".astro").mkdir()
    (tmp_path / ".astro" / "config.yaml").touch()
    for home, found in ((str(tmp_path), set()), ("/nowhere", {"astro-in-project"})):
        codes = {finding.code for finding in of_programs(tmp_path, {**environ, "HOME": home}, [])}
        assert found == codes - {"no-docker"}


def test_a_submodule_is_not_entered(project: Path, tmp_path: Path) -> None:
    """What is changed in it is not looked at, by a filter of its own or otherwise; which commit it is, is."""
    ran, environ = tmp_path / "ran", {**GIT, "HOME": str(tmp_path)}

    def git(*arguments: str, where: Path = project) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "advice.addEmbeddedRepo=false")
        subprocess.run(["git", *who, *arguments], cwd=where, env=environ, check=True, capture_output=True)

    def commit(where: Path) -> None:
        git("add", "--all", where=where)
        git("commit", "--quiet", "--allow-empty", "-m", "x", where=where)

    below = project / "below"
    below.mkdir()
    (below / "a.txt").write_text("a")
    for folder in (below, project):
        git("init", "--quiet", where=folder)
        commit(folder)
    (below / ".git" / "info" / "attributes").write_text("* filter=it\n")
    git("config", "filter.it.clean", f"touch {ran}; cat", where=below)
    (below / "a.txt").write_text("b")
    assert [] == repository.findings(project, environ)
    assert not ran.exists()
    commit(below)
    assert ["uncommitted"] == [finding.code for finding in repository.findings(project, environ)]


@pytest.mark.parametrize(
    ("version", "one", "found"),
    [
        ("1.44.0", Destination("prod", None, "ws", None, token_read=True), set()),
        ("1.43.9", Destination("prod", None, "ws", None, token_read=True), {"old-astro"}),
        ("1.43.9", Destination("prod", "ws", "ws", None, token_read=True), set()),
        ("1.43.9", Destination("prod", None, "ws", None, token_read=False), set()),
        ("1.27.0", Destination("prod", "ws", "ws", None, token_read=True), {"old-astro"}),
        ("1.27.1", Destination("prod", "ws", "ws", None, token_read=True), set()),
    ],
)
def test_an_astro_is_old_by_what_the_token_needs(
    project: Path, tmp_path: Path, version: str, one: Destination, found: set[str]
) -> None:
    astro = tmp_path / "astro"
    astro.write_text(f"#!/bin/sh\necho Astro CLI Version: {version}\n")
    astro.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "XDG_RUNTIME_DIR": ""}
    assert found == {finding.code for finding in of_programs(project, environ, [one])} - {"no-docker"}


@pytest.mark.parametrize(
    ("workspace", "found"), [("ws0stale", []), (None, []), ("ws0other", ["stale-workspace"])]
)
def test_the_workspace_of_an_earlier_run_is_stale_where_another_is_expected(
    project: Path, tmp_path: Path, workspace: str | None, found: list[str]
) -> None:
    home = tmp_path / "user"
    (home / ".astro").mkdir(parents=True)
    text = "context: astronomer.io\ncontexts:\n  astronomer_io:\n    workspace: ws0stale\n"
    (home / ".astro" / "config.yaml").write_text(text)
    lock = home / ".astro" / "config.yaml.lock"
    with lock.open("w") as another:  # who only looks keeps nobody from writing for long
        fcntl.flock(another, fcntl.LOCK_SH)
        one = Destination("prod", None, workspace, None, token_read=True)
        assert found == [finding.code for finding in of_home(project, {"HOME": str(home)}, [one])]


def test_what_the_project_expects_goes_before_what_the_token_says() -> None:
    token = AstroToken.parse(SecretValue(make_token(workspace="ws0token", deployment="dep0token").encode()))
    assert Destination("prod", "ws0token", "ws0", "dep0", token_read=True) == destination_of(
        "prod", token, Expectations(workspace="ws0", deployment="dep0")
    )
    assert Destination("prod", "ws0token", "ws0token", "dep0token", token_read=True) == destination_of(
        "prod", token, Expectations()
    )
    assert Destination("prod", None, None, None, token_read=False) == destination_of(
        "prod", None, Expectations()
    )
