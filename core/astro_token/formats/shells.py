"""
Commands for a shell to evaluate. `Rendering.then` shows how.

In POSIX shells values are always in single quotes: `shlex.quote` leaves a bare `=word`, which zsh expands.
"""

from __future__ import annotations

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry, carry_line

__all__ = ["cmd", "fish", "posix", "posix_assignments", "powershell"]

_SPECIAL_IN_CMD = tuple("\"%!^&|<>()'`,;*? ")


def posix(variables: Variables) -> Rendering:
    line = f'evaluate it: out="$({variables.call})" && eval "$out"'
    return Rendering(
        posix_assignments(variables), then=f"read it: . {variables.file}" if variables.file else line
    )


def posix_assignments(variables: Variables) -> str:
    lines = [f"unset {name}\n" for name in variables.unset]
    for name, text in variables.assigned.items():
        quoted = carry("a shell", text).replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'\n")
    return "".join(lines)


def fish(variables: Variables) -> Rendering:
    lines = [f"set -e {name}\n" for name in variables.unset]
    for name, text in variables.assigned.items():
        quoted = carry("fish", text).replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"set -gx {name} '{quoted}'\n")
    line = f'evaluate it: set -l out "$({variables.call})"; and eval $out'
    return Rendering("".join(lines), then=f"read it: source {variables.file}" if variables.file else line)


def powershell(variables: Variables) -> Rendering:
    """
    PowerShell reads a program's output line by line in the machine's encoding: only one line of ASCII.

    An empty text would unset the variable.
    """
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


def cmd(variables: Variables) -> Rendering:
    """The rules for quotes differ from one line to the next: only text that none of them changes."""
    lines = [f'set "{name}="\r\n' for name in variables.unset]
    for name, text in variables.assigned.items():
        lines.append(f'set "{name}={carry_line("cmd.exe", text, _SPECIAL_IN_CMD)}"\r\n')
    # A failure of astro-token becomes a line that ends the batch file.
    source = f"`type {variables.file}`" if variables.file else f"`{variables.call} ^|^| echo exit /b 1`"
    then = f'in a batch file: for /f "usebackq delims=" %%l in ({source}) do %%l'
    return Rendering("".join(lines), then=then)
