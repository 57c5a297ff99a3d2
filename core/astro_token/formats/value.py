"""The bare value without a line end, for programs that read a secret from a file or a pipe."""

from __future__ import annotations

from astro_token.formats.rendering import Rendering, Variables
from astro_token.formats.text import carry


def render(variables: Variables) -> Rendering:
    text = "".join(carry("a file", text) for text in variables.set.values())
    return Rendering(text, then="it is the value alone, without a line end")
