"""Which programs may be started."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import ConfigError
from astro_token.system.programs import (
    checkout_of,
    find_program,
    in_checkout,
    lies_in,
    repository_of,
    search_path,
    settle_platform,
    trusted_path,
    trusted_programs,
    why_missing,
)

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = {"PATH": "/usr/bin:/bin"}


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in whose subfolder we run."""
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    return folder


# -- finding ------------------------------------------------------------------------------------------


def test_only_absolute_folders_of_path_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = program(tmp_path / "bin" / "it")
    for path in (".", "", "bin", "./bin", ":", f"bin:{tmp_path}"):
        assert None is find_program("it", {"PATH": path})
    assert name == find_program("it", {"PATH": f"/nowhere:{tmp_path / 'bin'}"})
    (tmp_path / "bin" / "it").chmod(0o644)
    assert None is find_program("it", {"PATH": str(tmp_path / "bin")})
    assert search_path("it", {"PATH": str(tmp_path / "bin")}).not_executable == str(tmp_path / "bin" / "it")


def test_a_program_in_the_checkout_is_passed_over(checkout: Path, tmp_path: Path) -> None:
    inside, outside = program(checkout / "bin" / "it"), program(tmp_path / "bin" / "it")
    environ = {"PATH": f"{checkout}/bin:{tmp_path}/bin"}
    assert (inside, outside) == (search_path("it", environ).path, find_program("it", environ))
    assert f"{tmp_path}/bin" == trusted_path(environ)
    only = {"PATH": f"{checkout}/bin"}
    assert None is find_program("it", only)
    assert "is on PATH only in the checkout" == why_missing("it", only)
    assert "is not on PATH" == why_missing("other", only)
    assert os.devnull == trusted_path(only)  # an empty PATH would mean the working folder


def test_neither_a_link_to_the_checkout_nor_one_in_it_hides_that(checkout: Path, tmp_path: Path) -> None:
    program(checkout / "bin" / "it")
    program(tmp_path / "real" / "it")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "it").symlink_to(checkout / "bin" / "it")
    (tmp_path / "folder").symlink_to(checkout / "bin")
    (checkout / "out").symlink_to(tmp_path / "real")
    for folder in (
        tmp_path / "bin",
        tmp_path / "folder",
        checkout / "out",
        checkout / "below" / ".." / "bin",
    ):
        assert None is find_program("it", {"PATH": str(folder)})


def test_listed_folders_of_the_checkout_are_accepted(checkout: Path) -> None:
    name = program(checkout / ".venv" / "bin" / "it")
    environ = {"PATH": f"{checkout}/.venv/bin:{checkout}/bin"}
    accepted = {**environ, "ASTRO_TOKEN_PROGRAM_FOLDERS": f"/other{os.pathsep}{checkout}/.venv/bin"}
    assert (None, name) == (find_program("it", environ), find_program("it", accepted))
    assert f"{checkout}/.venv/bin" == trusted_path(accepted)
    with pytest.raises(ConfigError, match="ASTRO_TOKEN_PROGRAM_FOLDERS contains a relative folder"):
        find_program("it", {**environ, "ASTRO_TOKEN_PROGRAM_FOLDERS": ".venv/bin"})


def test_further_folders_can_count_as_the_checkout(tmp_path: Path) -> None:
    program(tmp_path / "build" / "bin" / "it")
    environ = {"PATH": f"{tmp_path}/build/bin"}
    assert find_program("it", environ)
    assert None is find_program("it", environ, roots=[tmp_path / "build"])


def test_the_checkout_is_the_repository_else_an_astro_project(tmp_path: Path) -> None:
    (tmp_path / "project" / ".astro").mkdir(parents=True)
    (tmp_path / "project" / ".astro" / "config.yaml").touch()
    project = tmp_path / "project"
    assert None is checkout_of(tmp_path, {})
    assert str(project) == checkout_of(project, {})
    assert None is checkout_of(project, {"HOME": str(project)})  # the CLI's own configuration
    (tmp_path / ".git").write_text("gitdir: /elsewhere\n")  # as in a worktree
    assert str(tmp_path) == repository_of(project) == checkout_of(project, {})


def test_without_a_working_folder_there_is_no_checkout(checkout: Path) -> None:
    (checkout / "below").rmdir()
    assert not in_checkout(checkout, {})


def test_a_folder_is_recognized_by_its_identity(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder")
    assert lies_in(tmp_path / "link" / "below" / "missing", [tmp_path / "folder"])
    assert lies_in(tmp_path / "folder" / "below", [tmp_path / "link"])
    assert not lies_in(tmp_path / "folder", [tmp_path / "folder" / "below", tmp_path / "missing"])


def test_the_home_is_no_checkout_by_any_name(tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    (home / ".astro").mkdir(parents=True)
    (home / ".astro" / "config.yaml").touch()
    link.symlink_to(home)
    for name in (home, f"{home}/", link):
        assert checkout_of(home, {"HOME": str(name)}) is None
    for environ in ({}, {"HOME": ""}, {"HOME": str(tmp_path)}):
        assert str(home) == checkout_of(home, environ)


def test_a_path_is_a_program_if_it_is_absolute_and_not_in_the_checkout(
    checkout: Path, tmp_path: Path
) -> None:
    inside, outside = program(checkout / "tool"), program(tmp_path / "tool")
    link = tmp_path / "link"
    link.symlink_to(inside)
    assert outside == find_program(outside, GIVEN)
    for name in (inside, "../tool", "./tool", str(link), str(tmp_path / "missing"), str(tmp_path)):
        assert find_program(name, GIVEN) is None
    assert inside == find_program(inside, GIVEN | {"ASTRO_TOKEN_PROGRAM_FOLDERS": str(checkout)})


# -- programs of SDKs ---------------------------------------------------------------------------------


def marked(path: Path) -> str:
    """Write a program that prints its path and whether its PATH leads to `tool`."""
    program(path).strip()
    path.write_text('#!/bin/sh\necho "$0 $(command -v tool)"\n')
    return str(path)


def output_of(*argv: str, **options: Any) -> str:
    return str(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, **options).stdout).strip()


def test_an_sdk_starts_no_program_of_the_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = marked(checkout / "bin" / "it"), marked(tmp_path / "bin" / "it")
    program(checkout / "bin" / "tool")
    only_here = program(checkout / "bin" / "here")
    given = f".:{checkout}/bin:{tmp_path}/bin:/usr/bin::/bin"
    monkeypatch.setenv("PATH", given)
    before = dict(os.environ)
    assert f"{inside} {checkout}/bin/tool" == output_of("it")
    with trusted_programs():
        # Also if it has searched PATH itself, gives a copy of the environment, or uses a shell.
        for argv in (["it"], [inside], ["../bin/it"], [os.path.relpath(inside)]):
            assert outside == output_of(*argv)
        assert outside == output_of("it", env={**os.environ, "A": "b"})
        assert outside == output_of("sh", "-c", "it")
        assert outside == subprocess.check_output("it", shell=True, text=True).strip()  # noqa: S602
        assert "it" == output_of("echo", "it", executable="/bin/echo")
        for name in ("here", only_here):
            with pytest.raises(FileNotFoundError):
                output_of(name)
        with trusted_programs():
            assert outside == output_of("it")
        assert outside == output_of("it")
        monkeypatch.setenv("ASTRO_TOKEN_PROGRAM_FOLDERS", f"{checkout}/bin")
        assert f"{inside} {checkout}/bin/tool" == output_of("it")
        monkeypatch.delenv("ASTRO_TOKEN_PROGRAM_FOLDERS")
        assert before == dict(os.environ)
    assert f"{inside} {checkout}/bin/tool" == output_of("it")
    assert before == dict(os.environ)


def test_other_threads_and_forked_children_start_what_they_want(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = marked(checkout / "bin" / "it"), marked(tmp_path / "bin" / "it")
    monkeypatch.setenv("PATH", f"{checkout}/bin:{tmp_path}/bin:/usr/bin:/bin")
    inside_of_sdk, go_on, outputs = threading.Event(), threading.Event(), []

    def stay() -> None:
        with trusted_programs():
            inside_of_sdk.set()
            go_on.wait(10)
            outputs.append(output_of("it"))

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside_of_sdk.wait(10)
    assert inside == output_of("it")
    child = os.fork()
    if child == 0:
        os._exit(output_of("it") != inside)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go_on.set()
    thread.join(10)
    assert [outside] == outputs
    with trusted_programs():
        child = os.fork()
        if child == 0:
            os._exit(output_of("it") != outside)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_invalid_list_of_accepted_folders_is_reported(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRO_TOKEN_PROGRAM_FOLDERS", "bin")
    with pytest.raises(ConfigError, match="relative"), trusted_programs():
        pass


def test_platform_starts_no_program(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    (tmp_path / "uname").write_text(f"#!/bin/sh\n: > {marker}\necho x\n")
    (tmp_path / "uname").chmod(0o755)
    settle_platform()
    assert platform.platform()
    code = "import platform; {}platform.platform(); platform.uname()[5]"
    for settled in (True, False):
        call = (
            "from astro_token.system.programs import settle_platform; settle_platform(); " if settled else ""
        )
        environ = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run([sys.executable, "-c", code.format(call)], env=environ, check=True)
        assert settled is not marker.exists()
