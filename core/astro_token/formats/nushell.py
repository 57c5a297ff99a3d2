"""
nushell: `astro-token export --format nushell | from json | load-env`.

It cannot evaluate a text, by design; a record in JSON needs no more than its own commands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from astro_token.formats import json as as_json

if TYPE_CHECKING:
    from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    source = f"open --raw {variables.file}" if variables.file else variables.call
    return replace(as_json.render(variables), then=f"load it: {source} | from json | load-env")
