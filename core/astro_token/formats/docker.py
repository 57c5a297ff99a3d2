"""
The file of `docker run --env-file`, and of podman's: everything behind the `=` is the value, quotes too.

Compose reads its files as .env files, for which there is `dotenv`; a token is the same in both.
"""

from __future__ import annotations

from astro_token.errors import OutputError
from astro_token.formats import carry_line
from astro_token.formats.rendering import Rendering, Variables

# A longer line stops the reader.
_LONGEST = 60_000


def render(variables: Variables) -> Rendering:
    lines = [f"{name}={carry_line('an env-file', text)}\n" for name, text in variables.assigned.items()]
    if any(len(line) > _LONGEST for line in lines):
        raise OutputError("an env-file cannot carry this value: it is too long", hint="use exec")
    return Rendering("".join(lines), then="docker run --env-file FILE …; docker inspect shows the value")
