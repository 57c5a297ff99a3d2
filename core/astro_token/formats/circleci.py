"""
CircleCI: the shell of the steps after this one, through the file that `BASH_ENV` names.

CircleCI names the file and leaves it to the first step to make it.
"""

from __future__ import annotations

from pathlib import Path

from astro_token.errors import OutputError
from astro_token.formats import File, Rendering, Variables
from astro_token.formats.posix import assignments


def render(variables: Variables) -> Rendering:
    path = Path(variables.environ.get("BASH_ENV") or "")
    checkout = Path(variables.environ.get("CIRCLE_WORKING_DIRECTORY") or "").expanduser()
    if path == Path():
        raise OutputError(
            "BASH_ENV is not set, so there is no place for the value",
            hint="run the step by bash, which is the default, or use exec",
        )
    if not path.is_absolute() or ".." in path.parts or (checkout != Path() and path.is_relative_to(checkout)):
        raise OutputError(
            f"BASH_ENV leads to {path}, where CircleCI keeps no such file",
            hint="CircleCI sets it: do not set it yourself, or use exec",
        )
    # A first line without an end would swallow ours.
    then = f'{" ".join(variables.set)} is set for the steps after this one; in this one: source "$BASH_ENV"'
    return Rendering("\n" + assignments(variables), File(path, made=True), then=then)
