"""`export`: where the token goes, what is said beside it, and what is refused."""

from __future__ import annotations

import fcntl
import os
import re
import select
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.conftest import PROGRAM, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


# -- to standard output -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("posix", "export ASTRO_API_TOKEN='{}'\n"),
        ("auto", "export ASTRO_API_TOKEN='{}'\n"),
        ("json", '{{"ASTRO_API_TOKEN": "{}"}}\n'),
        ("value", "{}"),
    ],
)
def test_it_prints_the_form_asked_for_and_nothing_else(
    program: Program, prod: str, canary: str, form: str, expected: str
) -> None:
    result = program("export", "--format", form, prod, allowed=["stdout"])
    assert Result(0, expected.format(canary), "") == result


def test_a_shell_loses_the_dead_keys_and_keeps_its_home(program: Program, prod: str, canary: str) -> None:
    dead = {"ASTRONOMER_KEY_ID": "a", "ASTRONOMER_KEY_SECRET": "b", "ASTRO_HOME": "/some/where"}
    script = (
        f'out="$({PROGRAM} export {prod})" && eval "$out" && '
        'echo "${ASTRONOMER_KEY_ID-none} ${ASTRONOMER_KEY_SECRET-none} $ASTRO_HOME $ASTRO_API_TOKEN"'
    )
    done = subprocess.run(
        ["sh", "-c", script], env=program.environment(dead), capture_output=True, text=True, check=False
    )
    assert (0, f"none none /some/where {canary}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_what_the_token_is_not_stops_it(program: Program, planted: Planted) -> None:
    planted.store("expired", make_token(exp=1_700_000_000))
    hint = "create a new token in Astro and store it in the place of this one"
    assert failure(65, "planted:expired: the token expired at 2023-11-14 22:13 UTC", hint) == program(
        "export", "planted:expired"
    )


FULL = "see that the output has a place, with space left on it"


@pytest.mark.parametrize("form", ["posix", "json", "value"])
@pytest.mark.parametrize(
    ("redirect", "message", "hint"),
    [
        (">/dev/full", "no space left on device", FULL),
        (">&-", "bad file descriptor", FULL),
        ("| true", "the output was closed before all was written", "see why its reader ended early"),
    ],
)
def test_an_output_that_takes_nothing_ends_with_74(
    program: Program, prod: str, form: str, redirect: str, message: str, hint: str
) -> None:
    line = f'{{ sleep 0.05; "{PROGRAM}" export --format {form} {prod}; echo $? >&3; }} {redirect}'
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; {line}"],
        env=program.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"astro-token: error: {message}\nastro-token: hint: {hint}\n"
    assert ("74\n", expected) == (done.stdout, done.stderr)


# -- to a file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_file_is_made_for_us_alone_whatever_the_umask(
    program: Program, prod: str, canary: str, umask: int
) -> None:
    file = program.work / "token"
    done = subprocess.run(
        [PROGRAM, "export", "--format", "value", "--output", "token", prod],
        env=program.environment(),
        cwd=program.work,
        umask=umask,
        capture_output=True,
        check=False,
    )
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
    assert (canary, 0o600) == (file.read_text(), stat.S_IMODE(file.stat().st_mode))
    assert [file] == list(program.work.iterdir())


def test_what_it_writes_can_be_sourced_or_mounted_and_read_again(
    program: Program, prod: str, canary: str
) -> None:
    file = program.work / "environment"
    assert Result(0, "", "") == program("export", "--output", str(file), prod, allowed=[file])
    script = f'. "{file}" && printf %s "$ASTRO_API_TOKEN"'
    assert canary == subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    file.unlink()
    assert Result(0, "", "") == program(
        "export", "--format", "value", "--output", str(file), prod, allowed=[file]
    )
    result = program("export", "--format", "value", f"file:{file}", allowed=["stdout", file])
    assert Result(0, canary, "") == result


def test_a_file_that_exists_is_replaced_only_by_force(program: Program, prod: str, canary: str) -> None:
    file = program.work / "token"
    file.write_text("precious")
    file.chmod(0o644)
    expected = failure(73, f"{file} exists", "remove it, or give --force to replace it")
    assert expected == program("export", "--output", str(file), prod)
    assert "precious" == file.read_text()
    result = program("export", "--format", "value", "--force", "--output", str(file), prod, allowed=[file])
    assert Result(0, "", "") == result
    assert (canary, 0o600) == (file.read_text(), stat.S_IMODE(file.stat().st_mode))


LINK = "name the file itself: what a link points at can change"
REGULAR = "name a regular file"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_is_no_file_of_ours_is_refused_before_a_read(
    program: Program, prod: str, planted: Planted, force: list[str]
) -> None:
    work = program.work
    target = work / "target"
    target.write_text("precious")
    (work / "link").symlink_to(target)
    (work / "dangling").symlink_to(work / "nothing")
    (work / "folder").mkdir()
    os.mkfifo(work / "fifo")
    before = sorted(work.iterdir())
    for path, message, hint in (
        ("link", "link is a link", LINK),
        ("dangling", "dangling is a link", LINK),
        ("folder", "folder is no regular file", REGULAR),
        ("fifo", "fifo is no regular file", REGULAR),
        ("/dev/full", "/dev/full is no regular file", REGULAR),
        ("/dev/stdout", "/dev/stdout is a link", LINK),
        ("none/token", f"{work}/none is no folder", "make the folder first"),
        ("target/token", f"{work}/target is no folder", "make the folder first"),
    ):
        assert failure(73, message, hint) == program("export", *force, "--output", path, prod)
    assert ([], before, "precious") == (planted.log, sorted(work.iterdir()), target.read_text())


def test_a_folder_that_takes_no_file_ends_with_74(program: Program, prod: str) -> None:
    """Of the kernel's own folders not even root can write the first."""
    folder = Path("/proc/self/fd") if sys.platform == "linux" else program.work / "locked"
    if sys.platform != "linux":
        folder.mkdir(mode=0o500)
    result = program("export", "--output", str(folder / "token"), prod)
    lines = result.stderr.splitlines()
    assert (74, "", 2) == (result.code, result.stdout, len(lines))
    assert lines[0].startswith(f"astro-token: error: {folder}/")
    assert "astro-token: hint: correct what the path names" == lines[1]


def test_an_output_without_a_name_is_not_standard_output(
    program: Program, prod: str, planted: Planted
) -> None:
    """As `--output "$FILE"` with a variable that is not set."""
    expected = failure(64, "--output names no file", "give the path of a file, or leave --output out")
    assert expected == program("export", "--output", "", prod)
    assert [] == planted.log


# -- in GitHub Actions ------------------------------------------------------------------------------


@pytest.fixture
def github(program: Program) -> Path:
    """The file of a step's environment, in which an earlier line left something."""
    file = program.folder / "runner" / "set_env_1"
    file.parent.mkdir()
    file.write_text("EARLIER=1\n")
    program.environ |= {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_ENV": str(file)}
    return file


def runner_reads(text: str) -> dict[str, str]:
    """As actions/runner reads the file: NAME=value, or NAME<<DELIMITER and lines up to the delimiter."""
    read, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        if "<<" in line and ("=" not in line or line.index("<<") < line.index("=")):
            name, _, delimiter = line.partition("<<")
            value: list[str] = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise AssertionError("the delimiter is missing")
            read[name] = "\n".join(value)
        else:
            name, equals, rest = line.partition("=")
            assert equals, f"the runner would print {line!r}"
            read[name] = rest
    return read


SET = "astro-token: ASTRO_API_TOKEN is set for the steps after this one\n"


@pytest.mark.parametrize("form", [[], ["--format", "github"]])
def test_the_runner_gets_the_variable_in_its_file_and_the_mask_in_its_log(
    program: Program, prod: str, canary: str, github: Path, form: list[str]
) -> None:
    result = program("export", *form, prod, allowed=["stderr"])
    assert Result(0, "", f"::add-mask::{canary}\n{SET}") == result
    assert {"EARLIER": "1", "ASTRO_API_TOKEN": canary} == runner_reads(github.read_text())
    delimiter = re.search("<<(.*)", github.read_text())
    assert delimiter
    program("export", *form, prod, allowed=["stderr"])
    assert 2 == github.read_text().count(delimiter[1])  # the second run has one of its own


def test_the_mask_is_out_before_the_file_is_written(
    program: Program, prod: str, canary: str, github: Path, start: Callable[..., Background]
) -> None:
    """The file is locked against it meanwhile, as it locks it itself."""
    with github.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        running = start("export", prod)
        assert running.process.stderr
        ready, _, _ = select.select([running.process.stderr], [], [], 10)
        assert ready
        mask = os.read(running.process.stderr.fileno(), 65536)
        assert (f"::add-mask::{canary}\n".encode(), "EARLIER=1\n") == (mask, github.read_text())
    assert Result(0, "", SET) == running.finish()
    assert canary == runner_reads(github.read_text())["ASTRO_API_TOKEN"]


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b" " * 4096)
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("form", ["posix", "json", "value"])
def test_the_mask_is_out_before_the_value_in_any_form(
    program: Program, prod: str, canary: str, github: Path, form: str
) -> None:
    reading, writing = os.pipe()
    fill(writing)  # so that nothing can follow until it is read
    with subprocess.Popen(
        [PROGRAM, "export", "--format", form, prod],
        env=program.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        assert process.stderr
        assert f"::add-mask::{canary}\n".encode() == process.stderr.readline()
        with os.fdopen(reading, "rb") as pipe:
            assert canary in pipe.read().decode()
        assert (0, b"") == (process.wait(10), process.stderr.read())
    assert "EARLIER=1\n" == github.read_text()


def test_a_runner_whose_file_cannot_be_trusted_gets_nothing(
    program: Program, prod: str, github: Path, canary: str
) -> None:
    folder = github.parent
    (folder / "link").symlink_to(github)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "twice").write_text("")
    os.link(folder / "twice", folder / "second name")
    before = github.read_text()
    for name, message in {
        "": "GITHUB_ENV is not set, so there is no place for the value",
        "link": f"{folder}/link is a link",
        "folder": f"{folder}/folder is no regular file",
        "fifo": f"{folder}/fifo is no regular file",
        "nothing": f"{folder}/nothing does not exist",
        "none/file": f"{folder}/none/file does not exist",
        "twice": f"{folder}/twice has a second name",
    }.items():
        place = {"GITHUB_ENV": str(folder / name) if name else ""}
        result = program("export", prod, env=place, allowed=["stderr"])
        shown = [line for line in result.stderr.splitlines() if not line.startswith("::add-mask::")]
        assert (73, "", f"astro-token: error: {message}") == (result.code, result.stdout, shown[0])
        assert (2, True) == (len(shown), shown[1].startswith("astro-token: hint: "))
        assert canary not in "".join(shown)
    assert (before, "") == (github.read_text(), (folder / "twice").read_text())


def test_a_runners_own_file_leaves_no_room_for_another(program: Program, prod: str, github: Path) -> None:
    result = program("export", "--output", "token", prod)
    assert failure(64, "the github format has its own file", "leave --output out") == result


def test_another_ci_system_gets_a_shells_form_and_a_word(program: Program, prod: str, canary: str) -> None:
    note = (
        "astro-token: this CI system is not known here: "
        "the output is for a POSIX shell, and the log hides nothing\n"
    )
    expected = f"export ASTRO_API_TOKEN='{canary}'\n"
    result = program("export", prod, env={"CI": "true"}, allowed=["stdout"])
    assert Result(0, expected, note) == result
    for environ, form in (({"CI": "true"}, "posix"), ({"CI": "false"}, "auto"), ({"CI": ""}, "auto")):
        result = program("export", "--format", form, prod, env=environ, allowed=["stdout"])
        assert Result(0, expected, "") == result
