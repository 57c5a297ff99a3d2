"""A JSON object of the variables, in ASCII, so that no consumer's encoding matters."""

from __future__ import annotations

import json

from astro_token.formats import carry
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    return Rendering(
        json.dumps({name: carry("JSON", text) for name, text in variables.assigned.items()}) + "\n",
        then="the names are the keys",
    )
