"""All values of `export --format`: those of `formats/`, and those that CI systems bring."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from astro_token.ci import all_systems
from astro_token.errors import OutputError, UsageError
from astro_token.formats import GENERIC, ExportFormat
from astro_token.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.ci.system import CISystem
    from astro_token.formats.rendering import Rendering, Variables

__all__ = ["all_formats", "format_names", "home_system", "masks", "render"]

_NAME_LIMIT = 255


def all_formats() -> dict[str, ExportFormat]:
    """Return every format by its name."""
    return {**GENERIC, **{name: row for system in all_systems() for name, row in system.formats.items()}}


def format_names() -> dict[str, str]:
    """Return the format's name for each alias."""
    return {alias: name for name, row in all_formats().items() for alias in row.aliases}


def home_system(name: str) -> CISystem | None:
    """Return the only system that reads this format; None for a format that can be read anywhere."""
    return next((s for s in all_systems() if name in s.formats and s.formats[name].exclusive), None)


def render(name: str, variables: Variables) -> Rendering:
    """
    Render variables, with the masks for the log.

    Raises:
        UsageError: there is no such format.
        OutputError: the consumer could not read this text back, or has no safe destination for it.
    """
    formats = all_formats()
    if name not in formats:
        raise UsageError("there is no such format", hint=f"choose from auto, {', '.join(formats)}")
    if not all(map(_is_name, (*variables.assigned, *variables.unset))):
        raise OutputError(
            "a variable's name is malformed", hint="use letters, digits and _, and no digit in front"
        )
    chosen = formats[name]
    rendering = _function(chosen)(variables)
    if chosen.lifetime:
        rendering = replace(rendering, then=f"{rendering.then}; {chosen.lifetime}")
    if variables.log is None:
        return rendering
    hidden = masks(variables.log, tuple(variables.set.values()))
    if hidden.to == "log" and rendering.to == "output" and chosen.exclusive:
        # Both are commands of one system: on one stream they keep their order.
        hidden = replace(hidden, to="output")
    return replace(rendering, masks=hidden)


def masks(key: str, values: tuple[str, ...]) -> Rendering:
    """Render the commands that tell a system's log to hide values in every form."""
    return next(s.masks for s in all_systems() if s.key == key and s.masks)(values)


def _function(row: ExportFormat) -> Callable[[Variables], Rendering]:
    if not isinstance(row.render, str):
        return row.render
    module, _, name = row.render.partition(":")
    function: Callable[[Variables], Rendering] = getattr(import_module(f"astro_token.formats.{module}"), name)
    return function


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier() and len(text) <= _NAME_LIMIT
