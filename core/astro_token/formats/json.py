"""A JSON object with the variables, in ASCII, so that the consumer's encoding does not matter."""

from __future__ import annotations

import json

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry


def render(variables: Variables) -> Rendering:
    return Rendering(
        json.dumps({name: carry("JSON", text) for name, text in variables.assigned.items()}) + "\n",
        then="the names are the keys",
    )
