"""
GitHub Actions: the environment of the steps after this one, through the file that `GITHUB_ENV` names.

The runner reads `NAME<<DELIMITER`, then lines until one that is exactly the delimiter.
The delimiter is random, so that no value can end its own block and name further variables,
and the form `NAME=value` is never used: a value with a line end would be printed in the runner's error.
The mask is a workflow command, which the runner takes out of the log and obeys from then on.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from astro_token.errors import OutputError
from astro_token.formats import Rendering, Variables, carry, refuse

# Shorter lines would hide harmless words all over the log.
_SHORTEST_MASK = 4


def render(variables: Variables) -> Rendering:
    path = (variables.environ or {}).get("GITHUB_ENV")
    if not path:
        raise OutputError(
            "GITHUB_ENV is not set, so there is no place for the value",
            hint="use this format in a step of GitHub Actions, or use exec",
        )
    # The empty line ends one that an earlier command of the step left open, as `echo -n` does:
    # else the value would stand on a line of its own, and in the runner's error.
    text = "\n" + "".join(_block(name, value) for name, value in variables.set.items())
    masks = tuple(mask for value in variables.set.values() for mask in masked(value))
    return Rendering(text, masks, Path(path))


def masked(value: str) -> tuple[str, ...]:
    """The commands that make the runner hide a value: the whole, and each of its lines."""
    lines = [line.strip() for line in value.splitlines()]
    texts = dict.fromkeys([value, *(line for line in lines if len(line) >= _SHORTEST_MASK)])
    return tuple(f"::add-mask::{_data(text)}" for text in texts if text.strip())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _block(name: str, value: str) -> str:
    value = carry("GitHub's runner", value)
    if "\r" in value:
        raise refuse("GitHub's runner", "it reads a carriage return as a line end on some systems")
    delimiter = f"ghadelimiter_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
