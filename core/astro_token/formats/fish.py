"""fish: `set -l out "$(astro-token export --format fish)"; and eval $out`."""

from __future__ import annotations

from astro_token.formats import carry
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    lines = [f"set -e {name}\n" for name in variables.unset]
    lines += [f"set -gx {name} {_quoted(carry('fish', text))}\n" for name, text in variables.assigned.items()]
    line = f'evaluate it: set -l out "$({variables.call})"; and eval $out'
    return Rendering("".join(lines), then=f"read it: source {variables.file}" if variables.file else line)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
