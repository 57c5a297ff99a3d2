"""
The file of systemd's `EnvironmentFile=`.

A credential is better if the program can read one: `--format value`, and `LoadCredential=astro:FILE`.
"""

from __future__ import annotations

import re

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry, refuse

_ESCAPED = re.compile(r'([\\"$`])')
# Noncharacters: systemd does not accept a text with one of these as UTF-8, and drops it.
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
        raise refuse("systemd", "it contains a noncharacter")
    return _ESCAPED.sub(r"\\\1", text)
