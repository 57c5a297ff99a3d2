"""
PowerShell, which reads a program's output by lines and in the machine's encoding: so only ASCII, on one.

An empty text would unset the variable.
"""

from __future__ import annotations

from astro_token.formats import Rendering, Variables, carry_line

THEN = (
    "evaluate it: $out = astro-token export --format powershell | Out-String; "
    "if ($LASTEXITCODE) { exit $LASTEXITCODE }; Invoke-Expression $out"
)


def render(variables: Variables) -> Rendering:
    lines = [f"$env:{name} = $null\n" for name in variables.unset]
    for name, text in variables.set.items():
        quoted = carry_line("PowerShell", text).replace("'", "''")
        lines.append(f"$env:{name} = '{quoted}'\n")
    return Rendering("".join(lines), then=THEN)
