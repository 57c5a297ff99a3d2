"""The page of commands and options, from the parser."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from astro_token.cli.parser import build
from reference.markdown import code, page, table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["arguments", "commands", "paragraphs", "subparsers", "usage"]


def subparsers() -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return the summary and the parser of each command."""
    # argparse has no public access to the actions of a parser.
    (action,) = (item for item in build()._actions if isinstance(item, argparse._SubParsersAction))  # noqa: SLF001
    summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
    return {name: (summaries[name], parser) for name, parser in action.choices.items()}


def arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Yield each argument and option, as a user writes it, with its help."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # noqa: SLF001
            continue
        value = "" if action.nargs == 0 else _value(action)
        names = ", ".join(action.option_strings)
        yield f"{names} {value}".strip(), (action.help or "").replace("%%", "%")


def _value(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"  # without a bar, which a table would divide at
    name = str(action.metavar or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name}…]"}.get(str(action.nargs), name)


def usage(parser: argparse.ArgumentParser) -> str:
    """Return the line of usage, without the options, which follow."""
    if parser.usage:
        return parser.usage
    positional = [_value(item) for item in parser._actions if not item.option_strings]  # noqa: SLF001
    return " ".join([parser.prog, "[OPTION…]", *positional])


def paragraphs(parser: argparse.ArgumentParser) -> tuple[str, str]:
    """Split a description into its text and its examples, which are indented."""
    blocks = (parser.description or "").strip("\n").split("\n\n")
    examples = "\n".join(
        re.sub("^  ", "", block, flags=re.MULTILINE) for block in blocks if block.startswith("  ")
    )
    return "\n\n".join(block for block in blocks if not block.startswith("  ")), examples


def commands() -> str:
    blocks = [
        "# Commands",
        (
            "`astro-token COMMAND --help` prints the same. Options can stand before and after the arguments. A command without an argument uses the\n"
            "token of the [environment](variables.md), else the default of the [project file](project-file.md)."
        ),
        table(
            ("command", ""),
            [(f"[`{name}`](#{name})", summary) for name, (summary, _) in subparsers().items()],
        ),
        "## astro-token",
        table(("option", "meaning"), [(code(name), text) for name, text in _main()]),
    ]
    for name, (_, parser) in subparsers().items():
        text, examples = paragraphs(parser)
        rows = [(code(argument), _linked(text)) for argument, text in arguments(parser)]
        blocks += [
            f"## {name}",
            f"```text\n{usage(parser)}\n```",
            _linked(text),
            table(("argument, option", "meaning"), rows),
            f"```sh\n{examples}\n```" if examples else "",
        ]
    return page(*blocks)


def _main() -> list[tuple[str, str]]:
    return [*arguments(build()), ("--help", "show the commands; after a command, its options and examples")]


def _linked(text: str) -> str:
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1.md](../\1.md)", text)
