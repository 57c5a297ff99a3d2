"""
The outward forms of a `CliEnvironment`, one module per shell or CI system.

A format is a pure function from variables to a `Rendering`.
It takes any text and either renders it so that the consumer reads back exactly that text, or refuses.
That only an Astro token gets this far is the business of `token.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from astro_token.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["FORMATS", "Rendering", "Variables", "render"]

# Each is `module:function` and is imported when it is asked for.
FORMATS = {
    "posix": "astro_token.formats.posix:render",
    "json": "astro_token.formats.json:render",
    "value": "astro_token.formats.value:render",
    "github": "astro_token.formats.github:render",
}


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Variables:
    """
    What a format renders.

    Attributes:
        set: names and texts; the texts are secret.
        unset: names that are set now and have to go, where the consumer can unset.
        environ: what the CI system tells the job: where its files are.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    environ: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return f"Variables({', '.join(self.set)})"


@dataclass(frozen=True, slots=True)
class Rendering:
    """
    Attributes:
        text: what the consumer reads.
        masks: lines for the CI system's log that make it hide the value; they go out first.
        append_to: the file to append to; None for standard output or the file of `--output`.
    """

    text: str
    masks: tuple[str, ...] = ()
    append_to: Path | None = None

    def __repr__(self) -> str:
        return f"Rendering(…, append_to={self.append_to!r})"


def render(name: str, variables: Variables) -> Rendering:
    """
    Raises:
        UsageError: there is no such format.
        OutputError: the consumer could not read this text back, or has no place for it.
    """
    if name not in FORMATS:
        raise UsageError("there is no such format", hint=f"known are auto, {', '.join(FORMATS)}")
    if not all(_NAME.fullmatch(variable) for variable in (*variables.set, *variables.unset)):
        raise OutputError(
            "a variable's name is malformed", hint="use letters, digits and _, and no digit in front"
        )
    module, _, function = FORMATS[name].partition(":")
    renderer: Callable[[Variables], Rendering] = getattr(import_module(module), function)
    return renderer(variables)


def carry(consumer: str, text: str) -> str:
    """
    The text, if an environment can hold it and UTF-8 can write it.

    Raises:
        OutputError: it cannot.
    """
    if "\0" in text:
        raise refuse(consumer, "it holds a NUL character")
    if _SURROGATE.search(text):
        raise refuse(consumer, "it holds half a character")
    return text


def refuse(consumer: str, reason: str) -> OutputError:
    return OutputError(
        f"{consumer} cannot carry this value: {reason}", hint="use exec, which carries any value"
    )
