"""
nushell: `astro-token export --format nushell | from json | load-env`.

By design it cannot evaluate a text; its own commands load a record in JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.formats import json as json_format
from astro_token.record import replace

if TYPE_CHECKING:
    from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    source = f"open --raw {variables.file}" if variables.file else variables.call
    return replace(json_format.render(variables), then=f"load it: {source} | from json | load-env")
