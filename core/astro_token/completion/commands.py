"""What there is to complete: the program, its commands, and what each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Command", "Kind", "Option", "takers"]

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


def takers(commands: list[Command]) -> list[str]:
    """Each command with each of its options that a value follows, as they stand on a line."""
    return [f"{command.name} {name}" for command in commands for name, _ in command.takers()]
