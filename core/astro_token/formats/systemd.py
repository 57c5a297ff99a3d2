"""
The file of systemd's `EnvironmentFile=`.

A credential is better where the program can read one: `--format value`, and `LoadCredential=astro:FILE`.
"""

from __future__ import annotations

import re

from astro_token.formats import carry, refuse
from astro_token.formats.rendering import Rendering, Variables

_ESCAPED = re.compile(r'([\\"$`])')
# The code points that are no characters: systemd takes a text with one of them for no UTF-8, and drops it.
_LAST_TWO = "".join(chr(plane << 16 | code) for plane in range(17) for code in (0xFFFE, 0xFFFF))
_NONCHARACTER = re.compile(f"[\ufdd0-\ufdef{_LAST_TWO}]")


def render(variables: Variables) -> Rendering:
    return Rendering(
        "".join(f'{name}="{_escaped(text)}"\n' for name, text in variables.assigned.items()),
        then="EnvironmentFile=FILE; better LoadCredential=astro:FILE with --format value",
    )


def _escaped(text: str) -> str:
    text = carry("systemd", text)
    if _NONCHARACTER.search(text):
        raise refuse("systemd", "it holds a code point that is no character")
    return _ESCAPED.sub(r"\\\1", text)
