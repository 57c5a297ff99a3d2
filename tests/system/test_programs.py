"""Which programs are started, and what happens to slow and talkative ones."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.system.programs import (
    Completed,
    checkout_of,
    find_program,
    given_environ,
    in_checkout,
    lies_in,
    repository_of,
    run_program,
    search_path,
    settle_platform,
    trusted_path,
    trusted_programs,
    why_missing,
)

if TYPE_CHECKING:
    from pathlib import Path

SHELL = "/bin/sh"
GIVEN = {"PATH": "/usr/bin:/bin"}


def ask(script: str, folder: Path, *, seconds: float = 5.0, data: bytes | None = None) -> Completed | None:
    return run_program([SHELL, "-c", script], GIVEN, seconds=seconds, limit=1000, folder=folder, data=data)


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


# -- running ------------------------------------------------------------------------------------------


def test_the_result_is_a_status_and_an_output(tmp_path: Path) -> None:
    assert Completed(3, b"out\n") == ask("echo out; echo err >&2; exit 3", tmp_path)
    assert "out" not in repr(ask("echo out", tmp_path))


def test_a_program_gets_its_folder_and_its_environment_only(tmp_path: Path) -> None:
    argv = [SHELL, "-c", 'echo "$A" "$HOME"; pwd; cat']
    done = run_program(argv, {"A": "b", **GIVEN}, seconds=5, limit=1000, folder=tmp_path)
    assert Completed(0, f"b \n{tmp_path}\n".encode()) == done


def test_data_is_written_to_its_standard_input(tmp_path: Path) -> None:
    assert Completed(0, b"secret") == ask("cat", tmp_path, data=b"secret")
    assert Completed(0, b"") == ask("exec <&-", tmp_path, data=bytes(1_000_000))


def test_one_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    left = tmp_path / "left"
    start = time.monotonic()
    done = ask(f"(/bin/sleep 1; echo > {left}) & /bin/sleep 30", tmp_path, seconds=0.2)
    assert Completed(None, b"", late=True) == done
    assert time.monotonic() - start < 5
    time.sleep(1.2)
    assert not left.exists()


@pytest.mark.parametrize("own", ["", "setsid "])
def test_a_program_left_behind_is_not_waited_for(tmp_path: Path, own: str) -> None:
    start = time.monotonic()
    assert Completed(0, b"said\n") == ask(f"{own}/bin/sleep 3 & echo said", tmp_path)
    assert time.monotonic() - start < 2


def test_one_that_prints_too_much_is_killed_unless_it_has_to_read_all_of_its_input(tmp_path: Path) -> None:
    assert Completed(None, b"x\n" * 500, too_long=True) == ask("while :; do echo x; done", tmp_path)
    assert Completed(0, b"x" * 1000) == ask("cat", tmp_path, data=b"x" * 100_000)


def test_one_that_cannot_be_started_gives_no_result(tmp_path: Path) -> None:
    assert None is run_program([str(tmp_path / "nothing")], {}, seconds=5, limit=10)
    assert None is ask("exit", tmp_path / "nowhere")


# -- finding ------------------------------------------------------------------------------------------


def test_only_absolute_folders_of_path_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = program(tmp_path / "bin" / "it")
    for path in (".", "", "bin", "./bin", ":", f"bin:{tmp_path}"):
        assert None is find_program("it", {"PATH": path})
    assert name == find_program("it", {"PATH": f"/nowhere:{tmp_path / 'bin'}"})
    (tmp_path / "bin" / "it").chmod(0o644)
    assert None is find_program("it", {"PATH": str(tmp_path / "bin")})
    assert search_path("it", {"PATH": str(tmp_path / "bin")}).not_executable


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


def test_path_is_restricted_for_sdks_and_restored(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = f".:{checkout}/bin:/usr/bin::/bin"
    monkeypatch.setenv("PATH", given)
    with trusted_programs():
        with trusted_programs():
            assert "/usr/bin:/bin" == os.environ["PATH"]
        assert "/usr/bin:/bin" == os.environ["PATH"]
    assert given == os.environ["PATH"]
    with trusted_programs():
        os.environ["PATH"] = "/chosen/meanwhile"
    assert "/chosen/meanwhile" == os.environ["PATH"]


def test_a_path_that_is_not_set_stays_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    with trusted_programs():
        assert os.defpath == os.environ["PATH"]
    assert "PATH" not in os.environ


def test_the_last_of_several_threads_restores_path(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{checkout}:/bin")
    inside, go_on = threading.Event(), threading.Event()

    def stay() -> None:
        with trusted_programs():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(10)
    with trusted_programs():
        pass
    assert "/bin" == os.environ["PATH"]
    child = os.fork()
    if child == 0:  # where no thread is left that could restore it
        os._exit(os.environ["PATH"] != f"{checkout}:/bin")
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go_on.set()
    thread.join(10)
    assert f"{checkout}:/bin" == os.environ["PATH"]


def test_a_child_gets_the_given_path_though_an_abandoned_thread_still_uses_an_sdk(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = f"{checkout}/bin:/bin"
    monkeypatch.setenv("PATH", given)
    with trusted_programs():
        assert "/bin" == os.environ["PATH"]
        assert given == given_environ()["PATH"]
        os.environ["PATH"] = "/chosen/meanwhile"
        assert "/chosen/meanwhile" == given_environ()["PATH"]
    monkeypatch.delenv("PATH")
    with trusted_programs():
        assert "PATH" not in given_environ()
    assert dict(os.environ) == given_environ()


def test_path_is_restricted_in_a_child_that_was_forked_inside_of_an_sdk(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{checkout}:/bin")
    with trusted_programs():
        child = os.fork()
        # The child leaves the block, too.
    if child == 0:
        with trusted_programs():
            os._exit(os.environ["PATH"] != "/bin")
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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
