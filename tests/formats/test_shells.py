"""The formats for other shells than POSIX ones, and for systems that run a shell, read by shells."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.rendering import Rendering, Variables
from tests.formats.consumers import (
    ENVIRON,
    NAME,
    PATH,
    misread,
    ours,
    shell_reader,
    shells,
    there,
    told,
    variables,
)
from tests.formats.texts import PIECES
from tests.formats.windows import cmd, powershell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What POSIX shells read; CircleCI's bash does it by itself.
SH_FORMATS = {"posix", "gitlab", "bitbucket", "codebuild", "circleci"}


@dataclass(frozen=True)
class Other:
    """
    Attributes:
        load: the line of the documentation, for {file}.
        tell: shows the variable as the shell has it, with a NUL after it.
    """

    command: list[str]
    format: str
    load: str
    tell: str
    call: str = ""


FISH = ["fish", "--no-config"]
_OTHERS = {
    "fish": Other(FISH, "fish", 'set -l out "$(cat {file})"; and eval $out', f"printf '%s\\0' \"${NAME}\""),
    "fish source": Other(FISH, "fish", "cat {file} | source", f"printf '%s\\0' \"${NAME}\""),
    "nu": Other(
        ["nu", "--no-config-file"],
        "nushell",
        "^cat {file} | from json | load-env",
        f'print --no-newline ($env.{NAME} + "\\u{{0}}")',
        "^",
    ),
}
FOUND = there("fish") + there("nu", needed=False)
OTHERS = {name: other for name, other in _OTHERS.items() if other.command[0] in FOUND}


def other_reader(name: str, *, children: bool = True) -> Callable[[list[str]], list[str | None]]:
    """
    Args:
        children: what a child of the shell is given, instead of what the shell has.
    """
    other = _OTHERS[name]

    def read(rendered: list[str]) -> list[str | None]:
        line = (
            other.load
            + "; "
            + (other.call + "{tell}" if children else other.tell.replace("{", "{{").replace("}", "}}"))
        )
        return told(other.command, line, rendered)

    return read


others = pytest.mark.parametrize("other", OTHERS)


@others
@pytest.mark.parametrize("children", [True, False])
def test_a_shell_reads_every_piece_alone(other: str, *, children: bool) -> None:
    reader = other_reader(other, children=children)
    given = [*PIECES, "", "\\", "a\\", "it's", "\\'", "x\\\\'"]
    assert [] == misread(ours(OTHERS[other].format), reader, given)


@others
def test_a_careless_rendering_is_caught(other: str) -> None:
    def careless(given: Variables) -> Rendering:
        text = render("posix", given).text.replace(f"export {NAME}=", f"set -gx {NAME} ")
        nushell = "".join(f'{{"{name}": "{value}"}}\n' for name, value in given.set.items())
        return Rendering(nushell if OTHERS[other].format == "nushell" else text)

    assert ["\\", "a\\"] == misread(careless, other_reader(other), ["plain", "\\", "a\\"])


FAILING = {
    "fish": "set -l out \"$(sh -c 'echo set -gx A b; exit 73')\"; and eval $out; or exit 73; echo reached",
    "nu": "^sh -c 'exit 73' | from json | load-env; print reached",
}


@pytest.mark.parametrize("shell", FOUND)
def test_a_failure_ends_the_documented_line(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(FAILING[shell])
    done = subprocess.run(
        [*_OTHERS[shell].command, str(tmp_path / "script")],
        env={"PATH": PATH, "HOME": str(tmp_path)},
        capture_output=True,
    )
    assert (True, b"") == (done.returncode != 0, done.stdout)


@pytest.mark.parametrize("shell", there("fish"))
def test_fish_loses_what_competes(shell: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(render("fish", Variables({NAME: "x y"}, ("OLD",))).text)
    done = subprocess.run(
        [*FISH, "-c", f"source {tmp_path}/file; env"],
        env={"PATH": PATH, "HOME": str(tmp_path), "OLD": "1"},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert (True, False, "") == (f"{NAME}=x y" in lines, "OLD=1" in lines, done.stderr)


# -- systems whose place is a POSIX shell ----------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SH_FORMATS - {"posix"}))
def test_a_system_whose_place_is_a_shell_gets_the_form_of_shells(name: str) -> None:
    given = Variables({NAME: "it's"}, ("OLD",), ENVIRON)
    assert render("posix", given).text == render(name, given).text.removeprefix("\n")
    assert "lasts" in render(name, given).then or name == "circleci"


@shells
def test_circlecis_next_step_reads_every_piece(shell: str) -> None:
    if shell == "bash":
        assert [] == misread(ours("circleci"), shell_reader(shell, "script"), PIECES)
    assert [] == misread(ours("circleci"), shell_reader(shell, "eval"), PIECES)


def test_bash_sources_circlecis_file_by_itself_even_after_an_open_line(tmp_path: Path) -> None:
    file = tmp_path / "bash_env"
    file.write_text("export EARLIER=1")
    with file.open("a") as opened:
        opened.write(render("circleci", variables("it's $HOME")).text)
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", f'printf "%s %s" "$EARLIER" "${NAME}"'],
        env={"PATH": PATH, "BASH_ENV": str(file)},
        capture_output=True,
        text=True,
    )
    assert ("1 it's $HOME", "") == (done.stdout, done.stderr)


CHECKOUT = {"CIRCLE_WORKING_DIRECTORY": "/home/circleci/project"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "BASH_ENV is not set"),
        ("env", "BASH_ENV names env"),
        ("/tmp/../etc/profile", "BASH_ENV names"),
        ("/home/circleci/project/env", "BASH_ENV names"),
    ],
)
def test_a_bash_env_that_is_not_circlecis_is_refused(path: str, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        render("circleci", Variables({NAME: "x"}, environ={"BASH_ENV": path, **CHECKOUT}))


# -- the shells of Windows ---------------------------------------------------------------------------------


def test_powershell_gets_a_literal_string_with_its_quotes_doubled() -> None:
    assert (
        f"$env:OLD = $null\n$env:{NAME} = 'it''s $(x)'\n"
        == render("powershell", Variables({NAME: "it's $(x)"}, ("OLD",))).text
    )


def test_cmd_gets_lines_that_call_and_for_read_alike() -> None:
    assert (
        f'set "OLD="\r\nset "{NAME}=a.b-c_"\r\n' == render("cmd", Variables({NAME: "a.b-c_"}, ("OLD",))).text
    )


@pytest.mark.parametrize("text", ["", " x", "é", "a\nb", "\u2019", "\t"])
@pytest.mark.parametrize("name", ["powershell", "cmd"])
def test_what_an_encoding_or_a_pipe_could_change_is_refused(name: str, text: str) -> None:
    with pytest.raises(OutputError, match="cannot carry this value: it is not one line of printable ASCII"):
        render(name, variables(text))


@pytest.mark.parametrize("character", '"%!^&|<>')
def test_what_cmd_reads_in_its_own_way_is_refused(character: str) -> None:
    with pytest.raises(OutputError, match=r"cmd\.exe cannot carry this value"):
        render("cmd", variables(f"a{character}b"))


def test_the_models_catch_a_careless_rendering() -> None:
    for script in (f"$env:{NAME} = 'it's'\n", f"$env:{NAME} = 'a'; 'b'\n", f'$env:{NAME} = "$x"\n'):
        with pytest.raises(ValueError, match=r"statement|follows"):
            powershell(script)
    assert {} == powershell(f"$env:{NAME} = ''\n")
    assert {} == powershell(f"$env:{NAME} = 'é'\n")
    for script in (f'set "{NAME}=%PATH%"', f'set "{NAME}=a"b"', f"set {NAME}=a&calc", f'set "{NAME}=a\nb"'):
        with pytest.raises(ValueError, match=r"read otherwise|no line"):
            cmd(script + "\r\n" if "\n" not in script else script.replace("\n", "\r\n"))
