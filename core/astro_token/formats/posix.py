"""
POSIX shells: `out="$(astro-token export --format posix)" && eval "$out"`.

Values are always in single quotes: `shlex.quote` leaves a bare `=word`, which zsh expands.
"""

from __future__ import annotations

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry

__all__ = ["assignments", "render"]


def render(variables: Variables) -> Rendering:
    line = f'evaluate it: out="$({variables.call})" && eval "$out"'
    return Rendering(assignments(variables), then=f"read it: . {variables.file}" if variables.file else line)


def assignments(variables: Variables) -> str:
    lines = [f"unset {name}\n" for name in variables.unset]
    lines += [
        f"export {name}={_quoted(carry('a shell', text))}\n" for name, text in variables.assigned.items()
    ]
    return "".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
