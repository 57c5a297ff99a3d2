"""
Completion scripts for shells.

They hold all they know: at completion time nothing of ours is run, and no file or secret is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SHELLS", "Command", "Option", "script"]

Kind = Literal["flag", "text", "file", "folder"]


@dataclass(frozen=True)
class Option:
    """
    Attributes:
        names: all that mean it, or none where it has a place instead of a name.
        kind: what its value is, or flag where it has none.
    """

    names: tuple[str, ...]
    help: str
    label: str
    kind: Kind
    choices: tuple[str, ...] = ()
    repeats: bool = False


@dataclass(frozen=True)
class Command:
    """
    Attributes:
        name: empty for the program itself.
        takes_child: whether another command stands after `--`.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    takes_child: bool = False

    def takers(self) -> list[tuple[str, Option]]:
        """The names that a value follows."""
        return [(name, option) for option in self.options if option.kind != "flag" for name in option.names]


def script(shell: str, program: str, commands: list[Command]) -> str:
    """The first command is the program itself."""
    lines = SHELLS[shell](program, commands)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# -- bash -------------------------------------------------------------------------------------------

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

complete -F _@FUNCTION@ @PROGRAM@"""


def _bash(program: str, commands: list[Command]) -> list[str]:
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
    return [
        _BASH.replace("@PROGRAM@", program)
        .replace("@FUNCTION@", function)
        .replace("@CHILD@", " | ".join(command.name for command in commands if command.takes_child))
        .replace("@TAKING@", " | ".join(map(_quoted, _takers(commands))))
        .replace("@PLACES@", "\n".join(places))
    ]


def _takers(commands: list[Command]) -> list[str]:
    return [f"{command.name} {name}" for command in commands for name, _ in command.takers()]


# -- zsh --------------------------------------------------------------------------------------------

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
fi"""


def _zsh(program: str, commands: list[Command]) -> list[str]:
    main, *others = commands
    places = []
    for command in others:
        lines = [f"                    {spec} \\" for option in command.options for spec in _specs(option)]
        lines[-1] = lines[-1].removesuffix(" \\") + " && ret=0"
        places.append("\n".join([f"                {command.name})", "                    _arguments \\"]))
        places += [*lines, "                    ;;"]
    named = [_quoted(f"{command.name}:{command.summary}") for command in others]
    return [
        _ZSH.replace("@PROGRAM@", program)
        .replace("@MAIN@", "\n".join(f"        {s} \\" for option in main.options for s in _specs(option)))
        .replace("@COMMANDS@", "\n".join(f"                {name}" for name in named))
        .replace("@CHILD@", "|".join(command.name for command in others if command.takes_child))
        .replace("@TAKING@", "|".join(name for name, _ in main.takers()))
        .replace("@PLACES@", "\n".join(places))
    ]


def _specs(option: Option) -> list[str]:
    """As `_arguments` takes them."""
    if option.choices:
        value = f"({' '.join(option.choices)})"
    else:
        value = {"file": "_files", "folder": "_files -/"}.get(option.kind, " ")
    if not option.names:
        return [_quoted(f"{'*' if option.repeats else ''}:{option.label}:{value}")]
    told = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    before = "*" if option.repeats else f"({' '.join(option.names)})"
    if option.kind == "flag":
        return [_quoted(f"{before}{name}[{told}]") for name in option.names]
    return [_quoted(f"{before}{name}=[{told}]:{option.label}:{value}") for name in option.names]


# -- fish -------------------------------------------------------------------------------------------

_FISH = """\
# fish completion of @PROGRAM@
function __@FUNCTION@_words
    set -l words (commandline -opc)
    while string match -qr '^\\w+=' -- $words[1]
        set -e words[1]
    end
    set -e words[1]
    string join \\n -- $words
end

function __@FUNCTION@_at
    set -l name
    set -l taking no
    set -l place
    for word in (__@FUNCTION@_words)
        if test "$word" = --
            set place ' --'
            break
        else if test $taking = yes
            set taking no
        else if string match -q -- '-*' $word
            contains -- "$name $word" @TAKING@
            and set taking yes
        else if test -z "$name"
            set name $word
        end
    end
    test "$name$place" = "$argv"
end

function __@FUNCTION@_child
    set -l words (__@FUNCTION@_words)
    set -l dashes (contains -i -- -- $words)
    set -e words[1..$dashes]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct) | string collect)
end

complete -c @PROGRAM@ -f"""


def _fish(program: str, commands: list[Command]) -> list[str]:
    function = program.replace("-", "_")

    def at(place: str) -> str:
        return f"complete -c {program} -n " + _fish_quoted(f'__{function}_at "{place}"')

    lines = [
        _FISH.replace("@PROGRAM@", program)
        .replace("@FUNCTION@", function)
        .replace("@TAKING@", " ".join(map(_fish_quoted, _takers(commands))))
    ]
    lines += [f"{at('')} -a {command.name} -d {_fish_quoted(command.summary)}" for command in commands[1:]]
    for command in commands:
        if command.takes_child:
            lines.append(f"{at(command.name + ' --')} -a '(__{function}_child)'")
        for option in command.options:
            value = {
                "flag": "",
                "text": "-x",
                "file": "-r -F",
                "folder": "-x -a '(__fish_complete_directories (commandline -ct))'",
            }[option.kind]
            if option.choices:
                value = f"-x -a {_fish_quoted(' '.join(option.choices))}"
            if not option.names:
                lines += [f"{at(command.name)} {value}"] if option.choices else []
                continue
            for name in option.names:
                named = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                parts = (at(command.name), named, value, "-d", _fish_quoted(option.help))
                lines.append(" ".join(part for part in parts if part))
    return lines


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
