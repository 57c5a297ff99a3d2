"""
PowerShell, which reads a program's output by lines and in the machine's encoding: so only ASCII, on one.

An empty text would unset the variable.
"""

from __future__ import annotations

from astro_token.formats import carry_line
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    lines = [f"$env:{name} = $null\n" for name in variables.unset]
    for name, text in variables.assigned.items():
        quoted = carry_line("PowerShell", text).replace("'", "''")
        lines.append(f"$env:{name} = '{quoted}'\n")
    line = (
        f"evaluate it: $out = {variables.call} | Out-String; "
        "if ($LASTEXITCODE) { exit $LASTEXITCODE }; Invoke-Expression $out"
    )
    read = f"read it: Get-Content -Raw {variables.file} | Invoke-Expression"
    return Rendering("".join(lines), then=read if variables.file else line)
