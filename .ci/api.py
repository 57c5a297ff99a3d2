"""
Write the public interface, one line for each part of it: `make api`, or `api.py [FILE]`.

`tests/test_public_api.py` compares the file with the code, so that no name, parameter, option or exit code
changes by accident.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astro_token
from astro_token import testing
from astro_token.ci.formats import all_formats
from astro_token.cli.parser import build
from astro_token.secrets.schemes import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).resolve().parent.parent / "tests" / "public_api.txt"


def lines() -> Iterator[str]:
    for module in (astro_token, testing):
        for name in sorted(module.__all__):
            yield from of_name(f"{module.__name__}.{name}", getattr(module, name))
    yield from of_commands()
    for name, form in sorted(all_formats().items()):
        yield f"format {' '.join((name, *form.aliases))}"
    for name, scheme in sorted(BUILTIN.items()):
        yield " ".join(
            ["scheme", name, *(f"?{option}" for option in sorted(scheme.options)), f"extra={scheme.extra}"]
        )


def of_name(name: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{name}{signature(value)}" if callable(value) else name
        return
    status = f" exit {value.exit_code}" if hasattr(value, "exit_code") else ""
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    yield f"{name}({bases}){status}"
    for each in value.__mro__[:-1]:
        if each.__module__.partition(".")[0] != "astro_token":
            continue
        for attribute, annotation in sorted(inspect.get_annotations(each).items()):
            if not attribute.startswith("_"):
                yield f"{name}.{attribute}: {annotation}"
        for attribute, member in sorted(vars(each).items()):
            function = getattr(member, "__func__", member)
            if attribute == "__init__" and inspect.isfunction(function):
                yield f"{name}{signature(function)}"
            elif attribute.startswith("_"):
                continue
            elif inspect.isfunction(function):
                yield f"{name}.{attribute}{signature(function)}"
            elif isinstance(member, property):
                yield f"{name}.{attribute} -> {signature(member.fget).rpartition(' -> ')[2]}"


def signature(function: Any) -> str:
    """Differs in no version of Python: annotations are text in every module of ours."""
    try:
        return str(inspect.signature(function)).replace("'", "")
    except ValueError:
        return "(…)"


def of_commands() -> Iterator[str]:
    for action in build()._actions:  # noqa: SLF001 (argparse has no other list)
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield f"astro-token {option(action)}"
            continue
        for command, parser in action.choices.items():
            yield f"astro-token {command}"
            for each in parser._actions:  # noqa: SLF001
                yield f"astro-token {command} {option(each)}"


def option(action: argparse.Action) -> str:
    parts = [", ".join(action.option_strings) or str(action.dest)]
    if action.nargs is not None:
        parts.append(f"nargs={action.nargs}")
    if action.metavar:
        parts.append(str(action.metavar))
    if action.choices is not None:
        parts.append("{" + ",".join(map(str, action.choices)) + "}")
    if action.default is not None and action.default != argparse.SUPPRESS:
        parts.append(f"default={action.default}")
    return " ".join(parts)


def text() -> str:
    return "".join(f"{line}\n" for line in dict.fromkeys(lines()))


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8")
