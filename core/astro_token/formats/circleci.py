"""
CircleCI: the shell of the steps after this one, through the file that `BASH_ENV` names.

CircleCI names the file and leaves it to the first step to make it.
"""

from __future__ import annotations

from pathlib import Path

from astro_token.formats.job_file import job_file
from astro_token.formats.posix import assignments
from astro_token.formats.rendering import Place, Rendering, Variables


def render(variables: Variables) -> Rendering:
    checkout = variables.environ.get("CIRCLE_WORKING_DIRECTORY")  # `~/project`, as a rule
    place = Place("BASH_ENV", "CircleCI", checkout=Path(checkout).expanduser() if checkout else None)
    unset = "run the step by bash, which is the default, or use exec"
    to = job_file(place, variables.environ, unset=unset, made=True)
    # A first line without an end would swallow ours.
    then = f'{" ".join(variables.set)} is set for the steps after this one; in this one: source "$BASH_ENV"'
    return Rendering("\n" + assignments(variables), to, then=then)
