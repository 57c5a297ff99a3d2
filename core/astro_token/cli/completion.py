"""`completion`: what a shell can complete, told by the parser itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from astro_token.cli.parser import build
from astro_token.completion import Command, Option, script

if TYPE_CHECKING:
    from astro_token.child.hardening import Inherited
    from astro_token.completion import Kind

_PATHS: dict[str, Kind] = {"FILE": "file", "FOLDER": "folder", "DIR": "folder"}


def run(arguments: argparse.Namespace, _inherited: Inherited) -> int:
    print(script(arguments.shell, "astro-token", described(build())), end="")
    return 0


def described(parser: argparse.ArgumentParser) -> list[Command]:
    """The program itself, and then each of its commands; what has no help to show is not to be found."""
    found = [Command("", "", _options(parser))]
    # argparse has no public way to ask for what a parser was given.
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            summaries = {choice.dest: choice.help for choice in action._choices_actions}  # noqa: SLF001
            found += [
                Command(
                    name,
                    _line(summaries.get(name)),
                    _options(command),
                    bool(command.get_default("takes_child")),
                )
                for name, command in action.choices.items()
                if summaries.get(name) != argparse.SUPPRESS
            ]
    return found


def _options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        Option(
            names=tuple(action.option_strings),
            help=_line(parser._get_formatter()._expand_help(action) if action.help else ""),  # noqa: SLF001
            label=str(action.metavar or action.dest),
            kind="flag" if action.nargs == 0 else _PATHS.get(str(action.metavar), "text"),
            choices=tuple(map(str, action.choices or ())),
            repeats=isinstance(action.default, list) or action.nargs in {"*", "+"},
        )
        for action in parser._actions  # noqa: SLF001
        if not isinstance(action, argparse._SubParsersAction) and action.help != argparse.SUPPRESS  # noqa: SLF001
    )


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
