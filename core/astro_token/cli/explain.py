"""`export --explain`: the detected system, and the effect of `export` here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import harmless
from astro_token.formats.delivery import describe_destination

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.cli.export_plan import ExportPlan


def explain(plan: ExportPlan, output: Path | None) -> None:
    """
    Print the plan.

    Raises:
        OutputError: the export would be refused; all that is decided before is printed.
    """
    _line("system", plan.system.description if plan.system else "no CI system detected")
    for other in plan.systems[1:]:
        _line("also", other.description)
    _line("format", plan.format_name)
    for notice in plan.notices():
        _line("note", notice)
    rendering = plan.dry_run()
    masks = rendering.masks
    _line("goes to", describe_destination(rendering, output))
    _line("masks", f"go first, to {describe_destination(masks)}" if masks else "none")
    _line("then", rendering.then)


def _line(name: str, text: str) -> None:
    print(f"{name + ':':9}{harmless(text)}")
