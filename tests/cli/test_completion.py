"""The completion scripts in the shells that they are for."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from astro_token.cli.parser import build
from astro_token.secrets.schemes import BUILTIN
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, ROOT
from tests.formats.consumers import there

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Program

SHELLS = ["bash", "zsh", "fish", *there("tcsh")]
SCRIPTS = ["bash", "zsh", "fish", "tcsh", "powershell"]
GENERATOR = ROOT / ".ci" / "completion.py"

# Splits as readline does at blanks, = and :, and calls what `complete` was told to.
_BASH = r"""
source "$1"
line=$2
words=${line//=/ = }
COMP_WORDS=(${words//:/ : })
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
    if shell == "tcsh":
        return completed_by_tcsh(program, file, lines)
    if shell == "fish":
        return completed_by_fish(program, file, lines)
    return [
        offered(printed(program, ["bash", "--norc", "-c", _BASH, "bash", str(file), line])) for line in lines
    ]


def printed(program: Program, command: Sequence[str]) -> str:
    done = subprocess.run(
        command, env=program.environment(), cwd=program.work, capture_output=True, text=True, timeout=60
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def offered(text: str) -> set[str]:
    """Of one word in each line."""
    lines = text.splitlines()
    assert len(lines) == len(set(lines))
    return set(lines)


def completed_by_fish(program: Program, file: Path, lines: Sequence[str]) -> list[set[str]]:
    script = 'source $argv[1]; for line in $argv[2..]; complete -C "$line"; printf "\\0"; end'
    texts = printed(program, ["fish", "--no-config", "-c", script, str(file), *lines]).split("\0")[:-1]
    words = [[line.partition("\t")[0] for line in text.splitlines()] for text in texts]
    # It gives the whole word, where the others give the part after `=`.
    return [{word.rpartition("=")[2] for word in offered("\n".join(each))} for each in words]


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


def completed_by_tcsh(program: Program, file: Path, lines: Sequence[str]) -> list[set[str]]:
    environ = program.environment({"TERM": "vt100"})
    with Terminal(["tcsh", "-f"], env=environ, cwd=program.work, size=(200, 2000)) as terminal:
        terminal.type(f"set edit; bindkey ^U kill-whole-line; set prompt='%%'; source {file}; echo rea''dy\n")
        terminal.wait_for("\nready\n%")
        found = []
        for number, line in enumerate(lines):
            terminal.type(f"{line}\x04")  # lists; the line is shown again after that
            terminal.type(f"\x15echo fin''ished {number}\n")
            shown = terminal.wait_for(f"\nfinished {number}\n%")
            listed = re.search(rf"\n(.*?)\n%{re.escape(line)}", shown, flags=re.DOTALL)
            # An option is listed without its dashes.
            dashes = "--" if line.rpartition(" ")[2].startswith("--") and "=" not in line else ""
            found.append({f"{dashes}{word}" for word in listed[1].split()} if listed else set())
    return found


def options(parser: argparse.ArgumentParser) -> set[str]:
    actions = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return {name for action in actions for name in action.option_strings if name.startswith("--")}


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (
        action.choices for action in build()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(choices)


# Of the parser, which gets others.
(FORMATS,) = (set(action.choices or ()) for action in commands()["check"]._actions if action.dest == "format")
EVERY_FORMAT = {
    choice
    for command in commands().values()
    for action in command._actions
    if action.dest == "format"
    for choice in action.choices or ()
}
SCHEMES = {f"{name}:" for name, scheme in BUILTIN.items() if not scheme.key}
KEYS = {f"{name}:" for name, scheme in BUILTIN.items() if scheme.key}
TOKENS = SCHEMES | {"prod", "preview", "zz-9"}

OFFERS: dict[str, set[str]] = {
    "ex": {"exec", "export"},
    "exe": {"exec"},
    "--log-level debug ch": {"check"},
    "--log-level ": {"debug", "info", "warning", "error"},
    "check --f": {"--format"},
    "check --format ": FORMATS,
    "check --format=ma": {"markdown"},
    "check prod --log-level w": {"warning"},
    "check --decrypt ": KEYS,
    "check --decrypt=v": {"vault-transit:"},
    "check --timeout ": set(),
    "check --path ": {"airflow"},
    "check ": TOKENS,
    "check prod ": TOKENS,
    "check pr": {"prod", "preview"},
    "export --output t": {"token.txt"},
    "exec --ma": {"--mask"},
    "exec prod --keep-env check --no-i": {"--no-isolate"},
    "completion ": set(SCRIPTS),
    "exec ": TOKENS,
    "exec pro": {"prod"},
    "exec vau": {"vault:"},
    "exec prod pr": set(),
    "exec -- deploy-from-he": {"deploy-from-here"},
    "exec -- zz-": set(),
    "exec prod -- deploy-from-here tok": {"token.txt"},
    "check -- deploy-from-he": set(),
    "check -- --f": set(),
}
# tcsh has one list for each option, looks at the word before, and does not know the commands' own rules.
IN_TCSH: dict[str, set[str]] = {
    "--log-level debug ch": set(),
    "check --f": {"--finish", "--force", "--format"},
    "check --format ": EVERY_FORMAT,
    "check prod ": set(),
    "exec prod -- deploy-from-here tok": set(),
    "check -- deploy-from-he": {"deploy-from-here"},
    "check -- --f": {"--finish", "--force", "--format"},
}


@pytest.fixture
def completing(program: Program) -> Program:
    """The program of a project, where the shells find it."""
    (program.work / "airflow").mkdir()
    (program.work / "token.txt").touch()
    (program.work / "astro-token.toml").write_text(
        "".join(f'[tokens.{name}]\nref = "env:TOKEN"\n' for name in ("prod", "preview", "zz-9"))
    )
    tools = program.folder / "tools"
    tools.mkdir()
    (tools / "deploy-from-here").write_text("#!/bin/sh\n")
    (tools / "deploy-from-here").chmod(0o755)
    (tools / "astro-token").symlink_to(PROGRAM)
    program.environ["PATH"] = f"{tools}:/usr/bin:/bin"
    return program


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_offers(completing: Program, shell: str) -> None:
    expected = {**OFFERS, **(IN_TCSH if shell == "tcsh" else {})}
    found = all_completed(completing, shell, [f"astro-token {line}" for line in expected])
    # A slash is added by the shell, or by its list.
    shown = [{text.removesuffix("/") for text in offered} for offered in found]
    assert expected == dict(zip(expected, shown, strict=True))


def test_bash_offers_files_after_the_scheme_file(completing: Program) -> None:
    (completing.work / "secrets").mkdir()
    (completing.work / "secrets" / "a b.age").touch()
    lines = {
        "astro-token exec file:sec": {"secrets"},
        "astro-token check file:": {path.name for path in completing.work.iterdir()},
        "astro-token check --online file:secrets/a": {"secrets/a b.age"},
        "astro-token exec --decrypt=file:secrets/": {"secrets/a b.age"},
        "astro-token exec file:nothing": set(),
        "astro-token exec vault:sec": set(),
    }
    assert list(lines.values()) == all_completed(completing, "bash", list(lines))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_of_every_command_is_offered(completing: Program, shell: str) -> None:
    names = {"": options(build()), **{name: options(command) for name, command in commands().items()}}
    if shell == "tcsh":  # which offers those of all commands
        names = {"": set().union(*names.values())}
    lines = [f"astro-token {command} --".replace("  ", " ") for command in names]
    assert names == dict(zip(names, all_completed(completing, shell, lines), strict=True))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_offered(completing: Program, shell: str) -> None:
    assert set(commands()) == completed(completing, shell, "astro-token ")


@pytest.mark.parametrize("shell", SCRIPTS)
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
    lines = ["astro-token ex", "astro-token check --f"]  # the first use loads the file
    assert [{"exec", "export"}, {"--format"}] == completed_by_zsh(program, loader, lines)


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ('[tokens.b]\nref = "env:X"\n[tokens.a]\nref = "env:X"\n', ["a", "b"]),
        ("[policy]\n", []),
        ("[tokens.a\n", []),
        ('[tokens."$(touch pwned)"]\nref = "env:X"\n', []),
        (None, []),
    ],
)
def test_the_words_for_a_token_are_names_and_schemes_without_a_message(
    program: Program, file: str | None, names: list[str]
) -> None:
    if file is not None:
        (program.work / "astro-token.toml").write_text(file)
    result = program("completion", "tokens")
    assert (0, "") == (result.code, result.stderr)
    assert [*names, *(name for name in result.stdout.split() if name in SCHEMES)] == result.stdout.split()
    assert SCHEMES == set(result.stdout.split()) - set(names)
    assert KEYS == set(program("completion", "keys").stdout.split())


def test_every_word_that_a_shell_would_expand_is_plain(program: Program) -> None:
    words = [*commands(), *SCHEMES, *KEYS, *FORMATS, *EVERY_FORMAT]
    words += [name for command in commands().values() for name in options(command)]
    assert [] == [word for word in words if not re.fullmatch(r"[a-z0-9-]*:?", word)]


# -- what the scripts are made of -----------------------------------------------------------------------


def test_the_scripts_are_what_the_generator_makes(tmp_path: Path) -> None:
    folder = tmp_path / "completions"
    subprocess.run([sys.executable, str(GENERATOR), str(folder)], cwd=tmp_path, check=True)
    shipped = ROOT / "core" / "astro_token" / "cli" / "completions"
    generated = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(SCRIPTS) == set(generated)
    assert generated == {file.name: file.read_text() for file in shipped.iterdir()}, "run `make completion`"


def test_powershell_gets_every_command_option_and_choice(program: Program) -> None:
    text = program("completion", "powershell").stdout
    assert "Register-ArgumentCompleter -Native -CommandName astro-token -ScriptBlock {" in text

    def table(name: str) -> dict[str, list[str]]:
        (rows,) = re.findall(
            rf"^\$_shtab_astro_token_{name} = @\{{\n(.*?)^\}}", text, flags=re.MULTILINE | re.DOTALL
        )
        return {
            key: re.findall(r"'([^']*)'", values)
            for key, values in re.findall(r"^    '_shtab_astro_token(\w*)' = (.*)$", rows, flags=re.MULTILINE)
        }

    parsers = {"": build(), **{f"_{name.replace('-', '_')}": parser for name, parser in commands().items()}}
    long = {key: {name for name in names if name != "-h"} for key, names in table("option_strings").items()}
    assert {key: options(parser) for key, parser in parsers.items()} == long
    assert {"": list(commands())} == table("subparsers")
    assert set(table("choices")["_check___format"]) == FORMATS
    functions = table("compgens")
    assert {"_astro_token_tokens"} == {functions[f"_{name}_pos_0"][0] for name in ("exec", "check", "put")}
    assert ["_astro_token_keys"] == functions["_check___decrypt"]
    for (function,) in functions.values():
        assert f"\nfunction {function} {{\n" in text
    # Brackets outside of strings and comments are in pairs.
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|#.*", "", text)
    for pair in ("{}", "()", "[]"):
        assert bare.count(pair[0]) == bare.count(pair[1])


@pytest.fixture(scope="module")
def script() -> Callable[[str, argparse.ArgumentParser], str]:
    spec = importlib.util.spec_from_file_location("completion", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[[str, argparse.ArgumentParser], str] = module.script
    return made


EVIL = "a \"quote\" 'and' $(touch pwned) `touch pwned` [x]:y; %% \\ & | {} ~ # ! ${X:=y} <>*?"


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_help_says_is_never_run(
    program: Program, shell: str, script: Callable[[str, argparse.ArgumentParser], str]
) -> None:
    parser = argparse.ArgumentParser(prog="astro-token", add_help=False)
    parser.add_argument("--flag", action="store_true", help=EVIL)
    both = parser.add_subparsers(metavar="COMMAND")
    go = both.add_parser("go", help=EVIL, description=EVIL, add_help=False)
    go.add_argument("--flag", action="store_true", help=EVIL)
    go.add_argument("--file", metavar="FILE", help=EVIL)
    go.add_argument("--only", choices=["one", "two"], help=EVIL)
    go.add_argument("number", choices=["three"], help=EVIL)
    both.add_parser("stop", help="", add_help=False)
    text = script(shell, parser)
    expected = {
        "": {"go", "stop"},
        "go --f": {"--flag", "--file"},
        "go --only ": {"one", "two"},
        "go th": {"three"},
    }
    lines = [f"astro-token {line}" for line in expected]
    assert list(expected.values()) == all_completed(program, shell, lines, text)
    assert [] == list(program.work.iterdir())


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_typed_is_never_run(completing: Program, shell: str) -> None:
    lines = ("check $(touch pwned) --f", "check `touch pwned` --path=x", "exec -- $(touch pwned) x")
    if shell == "bash":  # in words as readline has them, which are not expanded before
        file = completing.folder / "script.bash"
        file.write_text(completing("completion", shell).stdout)
        for line in lines:
            words = " ".join(
                f"'{word}'" for word in ("astro-token", *re.findall(r"\$\(.*?\)|`.*?`x?|\S+", line))
            )
            code = (
                f"source {file}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _astro_token"
            )
            subprocess.run(
                ["bash", "--norc", "-c", code], cwd=completing.work, env=completing.environment(), timeout=60
            )
    else:
        all_completed(completing, shell, [f"astro-token {line}" for line in lines])
    assert not (completing.work / "pwned").exists()
