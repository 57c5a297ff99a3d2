"""Completion in zsh, by `_arguments`, which knows options itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astro_token.completion.commands import Command, Option

__all__ = ["zsh"]

_ZSH = """\
#compdef @PROGRAM@
_@PROGRAM@() {
    local curcontext=$curcontext state state_descr line context name taking word ret=1
    local -A opt_args
    local -a summaries
    integer dashes=${words[(ie)--]}
    if ((dashes < CURRENT)); then
        for word in "${(@)words[2,dashes-1]}"; do
            if [[ -n $taking ]]; then
                taking=
            elif [[ $word == (@TAKING@) ]]; then
                taking=$word
            elif [[ $word != -* ]]; then
                name=$word
                break
            fi
        done
        [[ $name == (@CHILD@) ]] || return 1
        shift $dashes words
        ((CURRENT -= dashes))
        _normal
        return
    fi
    _arguments -C \\
@MAIN@
        '(-): :->command' \\
        '(-)*:: :->argument' && ret=0
    case $state in
        command)
            summaries=(
@COMMANDS@
            )
            _describe -t commands command summaries && ret=0
            ;;
        argument)
            case $words[1] in
@PLACES@
            esac
            ;;
    esac
    return ret
}

if [[ $funcstack[1] == _@PROGRAM@ ]]; then
    _@PROGRAM@ "$@"
else
    compdef _@PROGRAM@ @PROGRAM@
fi
"""


def zsh(program: str, commands: list[Command]) -> str:
    main, *others = commands
    places = []
    for command in others:
        lines = [f"                    {spec} \\" for option in command.options for spec in _specs(option)]
        lines = ["                    _arguments \\", *lines]
        lines[-1] = lines[-1].removesuffix(" \\") + " && ret=0"
        places += [f"                {command.name})", *lines, "                    ;;"]
    named = [_quoted(f"{command.name}:{command.summary}") for command in others]
    return (
        _ZSH.replace("@PROGRAM@", program)
        .replace("@MAIN@", "\n".join(f"        {s} \\" for option in main.options for s in _specs(option)))
        .replace("@COMMANDS@", "\n".join(f"                {name}" for name in named))
        .replace("@CHILD@", "|".join(command.name for command in others if command.takes_child) or "''")
        .replace("@TAKING@", "|".join(name for name, _ in main.takers()) or "''")
        .replace("@PLACES@", "\n".join(places))
    )


def _specs(option: Option) -> list[str]:
    """As `_arguments` takes them."""
    if option.choices:
        value = f"({' '.join(option.choices)})"
    else:
        value = {"file": "_files", "folder": "_files -/"}.get(option.kind, " ")
    label, told = _escaped(option.label), _escaped(option.help)
    if not option.names:
        return [_quoted(f"{'*' if option.repeats else ''}:{label}:{value}")]
    before = "*" if option.repeats else f"({' '.join(option.names)})"
    if option.kind == "flag":
        return [_quoted(f"{before}{name}[{told}]") for name in option.names]
    return [_quoted(f"{before}{name}=[{told}]:{label}:{value}") for name in option.names]


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\[]:" else character for character in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
