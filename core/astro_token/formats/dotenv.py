"""
A .env file. Each program that reads them has rules of its own: only what all of them read alike.

Bare where the text is of letters, digits and `. _ + / -`, as a token is; else in single quotes, in which some
programs know a backslash, some expand `$`, and some neither.
"""

from __future__ import annotations

import re

from astro_token.formats import carry_line
from astro_token.formats.rendering import Rendering, Variables

_BARE = re.compile(r"[A-Za-z0-9._+/-]+")


def render(variables: Variables) -> Rendering:
    return Rendering(
        "".join(f"{name}={_written(text)}\n" for name, text in variables.assigned.items()),
        then="keep it out of the repository, and read it with what loads .env files, or: set -a; . ./FILE",
    )


def _written(text: str) -> str:
    text = carry_line("a .env file", text, ("'", "\\", "$", "`"))
    return text if _BARE.fullmatch(text) else f"'{text}'"
