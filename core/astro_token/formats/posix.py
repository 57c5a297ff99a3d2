"""
POSIX shells: `out="$(astro-token export --format posix)" && eval "$out"`.

Values are always in single quotes: `shlex.quote` leaves a bare `=word`, which zsh expands.
"""

from __future__ import annotations

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry
from astro_token.record import replace

__all__ = ["assignments", "render", "render_for_script"]


def render(variables: Variables) -> Rendering:
    line = f'evaluate it: out="$({variables.call})" && eval "$out"'
    return Rendering(assignments(variables), then=f"read it: . {variables.file}" if variables.file else line)


def render_for_script(variables: Variables, lifetime: str) -> Rendering:
    """Render for a CI system in which one shell runs all lines of a script."""
    rendering = render(variables)
    return replace(rendering, then=f"{rendering.then}; {lifetime}")


def assignments(variables: Variables) -> str:
    lines = [f"unset {name}\n" for name in variables.unset]
    lines += [
        f"export {name}={_quoted(carry('a shell', text))}\n" for name, text in variables.assigned.items()
    ]
    return "".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
