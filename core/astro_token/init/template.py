"""
Fill a template: `@name@` in a line, and lines that begin with `@`.

    @lines NAME     the lines of a list, indented as this one
    @if NAME        the lines up to `@end` if the value is true; `@unless` if it is not
    @each NAME      the lines up to `@end` for each item of a list, whose values are added to the others
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["fill"]

_NAME = re.compile(r"@([a-z_]+)@")
_BLOCKS = ("@if", "@unless", "@each")


def fill(template: str, values: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _filled(template.splitlines(), values))


def _filled(lines: Sequence[str], values: Mapping[str, Any]) -> Iterator[str]:
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        directive, _, name = line.strip().partition(" ")
        if directive in _BLOCKS:
            end = _end(lines, number)
            block, number = lines[number:end], end + 1
            if directive == "@each":
                for item in values[name]:
                    yield from _filled(block, {**values, **item})
            elif bool(values[name]) is (directive == "@if"):
                yield from _filled(block, values)
        elif directive == "@lines":
            indent = line[: len(line) - len(line.lstrip())]
            yield from (indent + each for each in values[name])
        else:
            yield _NAME.sub(lambda match: str(values[match[1]]), line)


def _end(lines: Sequence[str], number: int) -> int:
    """Return the number of the `@end` of a block that begins at a line."""
    depth = 1
    while True:
        directive = lines[number].strip().partition(" ")[0]
        depth += (directive in _BLOCKS) - (directive == "@end")
        if not depth:
            return number
        number += 1
