"""Completion in fish, by one line for each thing that can stand in a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.completion.commands import takers

if TYPE_CHECKING:
    from astro_token.completion.commands import Command

__all__ = ["fish"]

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


def fish(program: str, commands: list[Command]) -> str:
    function = program.replace("-", "_")

    def at(place: str) -> str:
        return f"complete -c {program} -n " + _quoted(f'__{function}_at "{place}"')

    lines = [
        _FISH.replace("@PROGRAM@", program)
        .replace("@FUNCTION@", function)
        .replace("@TAKING@", " ".join(map(_quoted, takers(commands))))
    ]
    lines += [f"{at('')} -a {command.name} -d {_quoted(command.summary)}" for command in commands[1:]]
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
                value = f"-x -a {_quoted(' '.join(option.choices))}"
            if not option.names:
                lines += [f"{at(command.name)} {value}"] if option.choices else []
                continue
            for name in option.names:
                named = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                parts = (at(command.name), named, value, "-d", _quoted(option.help))
                lines.append(" ".join(part for part in parts if part))
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
