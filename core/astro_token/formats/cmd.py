"""cmd.exe, whose rules for quotes differ from one line to the next: only what none of them touches."""

from __future__ import annotations

from astro_token.formats import carry_line
from astro_token.formats.rendering import Rendering, Variables

_SPECIAL = tuple("\"%!^&|<>()'`,;*? ")


def render(variables: Variables) -> Rendering:
    lines = [f'set "{name}="\r\n' for name in variables.unset]
    for name, text in variables.assigned.items():
        lines.append(f'set "{name}={carry_line("cmd.exe", text, _SPECIAL)}"\r\n')
    # A failure of ours becomes a line that ends the batch file.
    source = f"`type {variables.file}`" if variables.file else f"`{variables.call} ^|^| echo exit /b 1`"
    then = f'in a batch file: for /f "usebackq delims=" %%l in ({source}) do %%l'
    return Rendering("".join(lines), then=then)
