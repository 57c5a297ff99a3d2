"""
A .env file. Each program that reads them has its own rules: only text that all of them read alike.

A text of letters, digits and `. _ + / -`, such as a token, is bare. Any other is in single quotes, in which
some programs interpret a backslash, some expand `$`, and some do neither.
"""

from __future__ import annotations

import re

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry_line

_BARE = re.compile(r"[A-Za-z0-9._+/-]+")


def render(variables: Variables) -> Rendering:
    return Rendering(
        "".join(f"{name}={_quoted(text)}\n" for name, text in variables.assigned.items()),
        then="keep it out of the repository, and load it by a reader of .env files, or: set -a; . ./FILE",
    )


def _quoted(text: str) -> str:
    text = carry_line("a .env file", text, ("'", "\\", "$", "`"))
    return text if _BARE.fullmatch(text) else f"'{text}'"
