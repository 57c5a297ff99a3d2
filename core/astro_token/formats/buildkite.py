"""
Buildkite: the hooks and commands after this one, by the agent's own program, and its redactor for the log.

Both read JSON from standard input. A failed `env set` ends with 0 all the same, but names no variable then.
"""

from __future__ import annotations

import json

from astro_token.formats import carry, refuse
from astro_token.formats.hiding import hidden
from astro_token.formats.rendering import Program, Rendering, Variables

# The agent reads the JSON as one line, and no line of 64 KiB.
_LONGEST = 60_000


def render(variables: Variables) -> Rendering:
    (name, *_) = variables.set
    text = json.dumps({name: carry("Buildkite's agent", text) for name, text in variables.assigned.items()})
    if len(text) > _LONGEST:
        raise refuse("Buildkite's agent", "it is too long")
    argv = ("buildkite-agent", "env", "set", "--input-format=json", "--output-format=json", "-")
    then = f"{' '.join(variables.set)} is set for the hooks and the command after this one"
    to = Program(argv, confirms=f'"{name}"')
    return Rendering(text + "\n", to, then=then)


def masks(values: tuple[str, ...]) -> Rendering:
    text = json.dumps({str(number): text for number, text in enumerate(hidden(values))})
    return Rendering(text + "\n", Program(("buildkite-agent", "redactor", "add", "--format=json")))
