"""
The file of `docker run --env-file`, also of podman: everything after the `=` is the value, quotes included.

Compose reads its files as .env files: use `dotenv` for it. A token looks the same in both.
"""

from __future__ import annotations

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry_line, refuse

_LONGEST_LINE = 60_000  # docker stops reading at a longer line


def render(variables: Variables) -> Rendering:
    lines = [f"{name}={carry_line('an env-file', text)}\n" for name, text in variables.assigned.items()]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise refuse("an env-file", "it is too long")
    return Rendering("".join(lines), then="docker run --env-file FILE …; docker inspect shows the value")
