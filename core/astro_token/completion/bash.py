"""Completion in bash, by a function that looks the words up in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.completion.commands import takers

if TYPE_CHECKING:
    from astro_token.completion.commands import Command

__all__ = ["bash"]

_BASH = """\
# bash completion of @PROGRAM@
_@FUNCTION@() {
    local current=${COMP_WORDS[COMP_CWORD]} name= taking= prefix= place word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            continue
        elif [[ $word == -- ]]; then
            case $name in
                @CHILD@) _@FUNCTION@_child $((i + 1)) ;;
            esac
            return
        elif [[ -n $taking ]]; then
            taking=
        elif [[ $word == -* ]]; then
            case "$name $word" in
                @TAKING@) taking=$word ;;
            esac
        elif [[ -z $name ]]; then
            name=$word
        fi
    done
    if [[ $current == = ]]; then
        current=
    elif [[ $current == --*=* ]]; then
        taking=${current%%=*}
        prefix=$taking=
        current=${current#*=}
    fi
    place="$name $taking"
    if [[ -z $taking && $current == -* ]]; then
        place="$name -"
    fi
    case $place in
@PLACES@
    esac
}

_@FUNCTION@_reply() {
    local found
    while IFS= read -r found; do
        COMPREPLY+=("$prefix$found")
    done < <(compgen "$@" -- "$current")
}

_@FUNCTION@_paths() {
    compopt -o filenames 2>/dev/null
    _@FUNCTION@_reply "$1"
}

_@FUNCTION@_child() {
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        _@FUNCTION@_reply -c
    else
        _@FUNCTION@_paths -f
    fi
}

complete -F _@FUNCTION@ @PROGRAM@
"""


def bash(program: str, commands: list[Command]) -> str:
    function = program.replace("-", "_")

    def words(place: str, found: list[str] | tuple[str, ...]) -> str:
        return f"        {_quoted(place)}) _{function}_reply -W {_quoted(' '.join(found))} ;;"

    places = [words(" ", [command.name for command in commands[1:]])]
    for command in commands:
        options = [name for option in command.options for name in option.names]
        places.append(words(f"{command.name} -", options))
        places += [words(f"{command.name} ", o.choices) for o in command.options if o.choices and not o.names]
        for name, option in command.takers():
            place = f"{command.name} {name}"
            if option.choices:
                places.append(words(place, option.choices))
            elif option.kind != "text":
                flag = "-f" if option.kind == "file" else "-d"
                places.append(f"        {_quoted(place)}) _{function}_paths {flag} ;;")
    return (
        _BASH.replace("@PROGRAM@", program)
        .replace("@FUNCTION@", function)
        .replace("@CHILD@", " | ".join(command.name for command in commands if command.takes_child) or "''")
        .replace("@TAKING@", " | ".join(map(_quoted, takers(commands))) or "''")
        .replace("@PLACES@", "\n".join(places))
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
