"""
Generates the scripts of `astro-token completion`: `make completion`, or `python .ci/completion.py [FOLDER]`.

shtab reads the parser. Added here are token names, which it cannot know, and what its scripts lack.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shtab

from astro_token.cli.parser import build

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent.parent / "core" / "astro_token" / "cli" / "completions"
SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def words(kind: str) -> dict[str, Any]:
    """Complete with what `astro-token completion KIND` prints. No blank follows a scheme."""
    function, command = f"_astro_token_{kind}", f"astro-token completion {kind}"
    # `shtab.cmd` is not used: its zsh script would run the command once, when it is loaded.
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({command} 2>/dev/null)",
        "tcsh": f"`{command}`",
        "powershell": function,
        "preamble": {
            "bash": f"""\
{function}() {{
  compgen -W "$({command} 2>/dev/null)" -- "$1"
}}""",
            "zsh": f"""\
{function}() {{
  local -a found=(${{(f)"$({command} 2>/dev/null)"}})
  compadd -- ${{found:#*:}}
  compadd -S '' -- ${{(M)found:#*:}}
}}""",
            "powershell": f"""\
function {function} {{
  param([string]$WordToComplete)
  @({command} 2>$null) | Where-Object {{ $_ -like "$WordToComplete*" }}
}}""",
        },
    }


COMPLETED_BY = {
    "TOKEN": words("tokens"),
    "KEY": words("keys"),
    "FILE": shtab.FILE,
    "FOLDER": shtab.DIRECTORY,
    "DIR": shtab.DIRECTORY,
}

# Readline splits a line at `=` and `:`, and after `--` stands another program's command.
BASH = """

_astro_token() {
  local current=${COMP_WORDS[COMP_CWORD]} words=() index word
  for ((index = 0; index < COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    if [[ $word == -- ]]; then
      [[ " ${words[*]} " == *" exec "* ]] && _astro_token_child $((index + 1))
      return
    fi
    [[ $word == = ]] || words+=("$word")
  done
  local last="${COMP_WORDS[*]:COMP_CWORD-1:2}" before="${COMP_WORDS[*]:COMP_CWORD-2:2}"
  if ((COMP_CWORD > 1)) && [[ $last == "file :" || $before == "file :" ]]; then
    current=${current#:}
    compopt -o filenames 2>/dev/null || :
    _astro_token_offer -f
    return
  fi
  words+=("${current#=}")
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
  _shtab_astro_token
  [[ ${COMPREPLY[0]-} != *: ]] || compopt -o nospace 2>/dev/null || :
}

_astro_token_child() {
  local kind=-f
  if declare -F _command_offset >/dev/null; then
    _command_offset "$1"
    return
  fi
  ((COMP_CWORD > $1)) || kind=-c
  _astro_token_offer $kind
}

_astro_token_offer() {
  COMPREPLY=()
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen "$1" -- "$current")
}

complete -o bashdefault -F _astro_token astro-token
"""
ZSH = """\
functions[_astro_token_own]=$functions[_shtab_astro_token]
_shtab_astro_token() {
  integer dashes=${words[(ie)--]}
  if ((dashes >= CURRENT)); then
    _astro_token_own
  elif ((${words[1,dashes][(I)exec]})); then
    shift $dashes words
    ((CURRENT -= dashes))
    _normal
  fi
}"""
FISH = """
function _astro_token_child
  _shtab_astro_token_scan
  test "$_shtab_astro_token_cmdpath" = exec
  or return
  set -l words (commandline -opc)
  set -l dashes (contains -i -- -- $words)
  set -e words[1..$dashes]
  complete -C (string join ' ' -- (string escape -- $words) (commandline -ct) | string collect)
end

complete -c astro-token -n 'contains -- -- (commandline -opc)' -a '(_astro_token_child)'
"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """
    Generate the script of a shell.

    Args:
        parser: is changed.
    """
    choices: dict[str, dict[str, None]] = {}
    for action in actions(parser):
        if action.metavar in COMPLETED_BY:
            action.complete = COMPLETED_BY[str(action.metavar)]  # type: ignore[attr-defined]
        elif action.metavar == "SHELL":
            action.choices = SHELLS
        if shell == "zsh" and action.nargs != 0:
            action.option_strings = [f"{name}=" for name in action.option_strings]  # `--name value` as well
        if shell == "tcsh" and action.option_strings and action.choices:
            # tcsh does not tell commands apart, so an option offers what any of them takes.
            together = choices.setdefault(action.dest, {})
            together.update(dict.fromkeys(action.choices))
            action.choices = together
    text = shtab.complete(parser, shell, preamble={"zsh": ZSH})  # type: ignore[arg-type]
    if shell == "bash":
        text += BASH
    elif shell == "zsh":
        text = replaced(text, "$zsh_eval_context[-1] == eval", "$zsh_eval_context[-1] == (eval|file)")
        text = text.replace('"(*)::', '"*:')  # every TOKEN of `check`, not only the first
    elif shell == "fish":
        using = "function _shtab_astro_token_using\n"
        text = replaced(text, using, f"{using}  contains -- -- (commandline -opc)\n  and return 1\n") + FISH
    elif shell == "tcsh":
        text = replaced(text, "'p/*/()/'", "'n/--/c/' \\\n        'p/*/()/'") + "\n"
    elif shell == "powershell":
        start = "  # --- Generate completions ---\n"
        text = replaced(text, start, f"  if ($posOnly) {{ return }}\n{start}")
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    # argparse has no public access to the actions of a parser.
    for action in parser._actions:  # noqa: SLF001
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from actions(command)


def replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        sys.exit(f"shtab's script has changed, it no longer holds {old!r} once")
    return text.replace(old, new)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(exist_ok=True)
    for name in SHELLS:
        (folder / name).write_text(script(name, build()), encoding="ascii")
