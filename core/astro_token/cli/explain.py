"""`export --explain`: what was found out about this place, and what would be done here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.cli.output import harmless
from astro_token.formats.delivery import place

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.ci.system import System
    from astro_token.cli.handover import Handover


def explain(handover: Handover, output: Path | None) -> None:
    """
    Raises:
        OutputError: it would be refused, and how; what is known is printed first.
    """
    _line("system", _known(handover.system) if handover.system else "no CI system that is known here")
    for other in handover.systems[1:]:
        _line("also", _known(other))
    _line("format", handover.format)
    for word in handover.words():
        _line("note", word)
    rendering = handover.trial()
    _line("goes to", place(rendering, output))
    _line("masks", f"go first, to {place(rendering.masks)}" if rendering.masks else "none")
    _line("then", rendering.then)


def _known(system: System) -> str:
    return f"{system.name}, known by {' and '.join(system.marks)}"


def _line(name: str, text: str) -> None:
    print(f"{name + ':':9}{harmless(text)}")
