"""The completion scripts in the shells that they are for."""

from __future__ import annotations

import argparse
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from astro_token.cli.completion import described
from astro_token.cli.parser import build
from astro_token.completion import Command, Option, script
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Program

SHELLS = ["bash", "zsh", "fish"]

# Splits as readline does at blanks and =, and calls what `complete` was told to.
_BASH = r"""
source "$1"
line=$2
COMP_WORDS=(${line//=/ = })
[[ $line == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
function=$(complete -p astro-token)
[[ $function =~ -F\ ([a-z_]+) ]]
"${BASH_REMATCH[1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"""
# Notes what is offered, and offers it.
_ZSH = r"""
autoload -Uz compinit; compinit -u -D; source $SCRIPT; LISTMAX=10000
compadd() {
    local -a found
    if [[ " $* " != *" -"[OAD]" "* ]]; then
        builtin compadd -O found "$@"
        ((${#found})) && print -rl -- $found >>$OFFERED
    fi
    builtin compadd "$@"
}
"""


def completed(program: Program, shell: str, line: str, text: str | None = None) -> set[str]:
    """What the shell offers for the last word of the line; by another script, if one is given."""
    (found,) = all_completed(program, shell, [line], text)
    return found


def all_completed(
    program: Program, shell: str, lines: Sequence[str], text: str | None = None
) -> list[set[str]]:
    """For each line, in one shell where that takes long to start."""
    file = program.folder / f"script.{shell}"
    file.write_text(program("completion", shell).stdout if text is None else text)
    if shell == "zsh":
        return completed_by_zsh(program, file, lines)
    return [completed_by(program, shell, file, line) for line in lines]


def completed_by(program: Program, shell: str, file: Path, line: str) -> set[str]:
    if shell == "bash":
        command = ["bash", "--norc", "-c", _BASH, "bash", str(file), line]
    else:
        command = ["fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', str(file), line]
    done = subprocess.run(
        command, env=program.environment(), cwd=program.work, capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    found = {text.partition("\t")[0] for text in done.stdout.splitlines()}
    assert len(found) == len(done.stdout.splitlines())
    return {text.rpartition("=")[2] for text in found}  # fish gives the whole word


def completed_by_zsh(program: Program, file: Path, lines: Sequence[str]) -> list[set[str]]:
    offered, start = program.folder / "offered", program.folder / "start.zsh"
    offered.write_text("")
    start.write_text(_ZSH)
    environ = program.environment({"SCRIPT": str(file), "OFFERED": str(offered), "PS1": "> ", "TERM": "dumb"})
    with Terminal(["zsh", "-f", "-i"], env=environ, cwd=program.work) as terminal:
        terminal.wait_for("> ")
        terminal.type(f"source {start}; print rea''dy\n")
        terminal.wait_for("ready\n")
        found = []
        for number, line in enumerate(lines):
            terminal.wait_for("> \x1b[?2004h")  # earlier keys would be the terminal's, not the line editor's
            terminal.type(f"{line}\t")
            terminal.type(f"\x15print fin''ished {number}\n")
            terminal.wait_for(f"finished {number}\n")
            found.append(set(offered.read_text().split()))
            offered.write_text("")
    return found


# Of the parser, which gets others.
FORMATS = {
    choice
    for command in described(build())
    if command.name == "check"
    for option in command.options
    if "--format" in option.names
    for choice in option.choices
}


OFFERS: dict[str, set[str]] = {
    "ex": {"exec", "export"},
    "exe": {"exec"},
    "--log-level debug ch": {"check"},
    "--log-level ": {"debug", "info", "warning", "error"},
    "check --f": {"--format"},
    "check --format ": FORMATS,
    "check --format=j": {"json"},
    "check prod --log-level w": {"warning"},
    "check --decrypt ": set(),
    "check --path ": {"airflow"},
    "export --output t": {"token.txt"},
    "exec --ma": {"--mask"},
    "exec prod --keep-env check --no-i": {"--no-isolate"},
    "completion ": {"bash", "zsh", "fish"},
    "exec ": set(),
    "exec -- deploy-from-he": {"deploy-from-here"},
    "exec prod -- deploy-from-here tok": {"token.txt"},
    "check -- deploy-from-he": set(),
    "check -- --f": set(),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_offers(program: Program, shell: str) -> None:
    (program.work / "airflow").mkdir()
    (program.work / "token.txt").touch()
    tools = program.folder / "tools"
    tools.mkdir()
    (tools / "deploy-from-here").write_text("#!/bin/sh\n")
    (tools / "deploy-from-here").chmod(0o755)
    program.environ["PATH"] = f"{tools}:/usr/bin:/bin"
    found = all_completed(program, shell, [f"astro-token {line}" for line in OFFERS])
    # A slash is added by the shell, or by its list.
    shown = [{text.removesuffix("/") for text in offered} for offered in found]
    assert OFFERS == dict(zip(OFFERS, shown, strict=True))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_of_every_command_is_offered(program: Program, shell: str) -> None:
    commands = described(build())
    names = {
        command.name: {name for option in command.options for name in option.names if name.startswith("--")}
        for command in commands
    }
    lines = [f"astro-token {command.name} --".replace("  ", " ") for command in commands]
    assert names == dict(zip(names, all_completed(program, shell, lines), strict=True))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_offered(program: Program, shell: str) -> None:
    assert {c.name for c in described(build())[1:]} == completed(program, shell, "astro-token ")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_plain_text_and_the_same_every_time(program: Program, shell: str) -> None:
    results = [program("completion", shell, env={"PYTHONHASHSEED": seed}) for seed in ("1", "2")]
    assert results[0] == results[1]
    text = results[0].stdout
    assert (0, "", True) == (results[0].code, results[0].stderr, text.endswith("\n"))
    assert text.isascii()
    assert [] == [line for line in text.splitlines() if not line.isprintable()]


def test_zsh_finds_the_script_in_a_folder_of_fpath(program: Program) -> None:
    folder = program.folder / "functions"
    folder.mkdir()
    script = program("completion", "zsh").stdout
    (folder / "_astro-token").write_text(script)
    loader = program.folder / "script.zsh"
    loader.write_text(f"fpath=({folder} $fpath); compinit -u -D\n")
    assert [{"exec", "export"}] == completed_by_zsh(program, loader, ["astro-token ex"])


# -- what the scripts are made of -----------------------------------------------------------------------


def test_the_parser_is_followed_whatever_it_has() -> None:
    parser = argparse.ArgumentParser(prog="x", add_help=False)
    parser.add_argument(
        "--level", type=int, choices=[1, 2], default=1, help="100%% of it\n  (default: %(default)s)"
    )
    parser.add_argument("--secret", help=argparse.SUPPRESS)
    commands = parser.add_subparsers()
    commands.add_parser("bare", add_help=False).add_argument("FILE", nargs="+")
    commands.add_parser("long", aliases=["l"], help="a long one", add_help=False)
    commands.add_parser("hidden", help=argparse.SUPPRESS, add_help=False)
    file = Option((), "", "FILE", "text", repeats=True)
    assert described(parser) == [
        Command("", "", (Option(("--level",), "100% of it (default: 1)", "level", "text", ("1", "2")),)),
        Command("bare", "", (file,)),
        Command("long", "a long one", ()),
        Command("l", "", ()),
    ]


def test_every_word_that_a_shell_would_expand_is_plain() -> None:
    for command in described(build()):
        words = [name for option in command.options for name in (*option.names, *option.choices)]
        assert [] == [word for word in (command.name, *words) if not re.fullmatch(r"[a-z0-9-]*", word)]


EVIL = "a \"quote\" 'and' $(touch pwned) `touch pwned` [x]:y; %s \\ & | {} ~ # ! ${X:=y} <>*?"


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_help_says_is_never_run(program: Program, shell: str) -> None:
    options = (
        Option(("--flag",), EVIL, EVIL, "flag"),
        Option(("--file",), EVIL, EVIL, "file"),
        Option(("--only",), EVIL, EVIL, "text", ("one", "two")),
        Option((), EVIL, EVIL, "text", ("three",), repeats=True),
    )
    commands = [Command("", "", options[:1]), Command("go", EVIL, options), Command("stop", "", ())]
    text = script(shell, "astro-token", commands)
    for line, offered in (
        ("", {"go", "stop"}),
        ("go --f", {"--flag", "--file"}),
        ("go --only ", {"one", "two"}),
        ("go th", {"three"}),
    ):
        assert offered == completed(program, shell, f"astro-token {line}", text)
    assert [] == list(program.work.iterdir())


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_typed_is_never_run(program: Program, shell: str) -> None:
    for line in ("check $(touch pwned) --f", "check `touch pwned` --path=x", "exec -- $(touch pwned) x"):
        if shell == "bash":  # in words as readline has them, which are not expanded before
            file = program.folder / "script.bash"
            file.write_text(program("completion", shell).stdout)
            words = " ".join(
                f"'{word}'" for word in ("astro-token", *re.findall(r"\$\(.*?\)|`.*?`x?|\S+", line))
            )
            code = (
                f"source {file}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _astro_token"
            )
            subprocess.run(
                ["bash", "--norc", "-c", code], cwd=program.work, env=program.environment(), timeout=60
            )
        else:
            completed(program, shell, f"astro-token {line}")
        assert not (program.work / "pwned").exists()
