"""
GitLab CI: the environment of `after_script`, through the file that `GITLAB_ENV` names.

The runner reads it line by line and takes off blanks; a last line without an end is lost.
`before_script` and `script` share a shell, which does not read it: they have `gitlab`.
A report of the type dotenv is no place for a secret: anyone who sees the job can download it.
"""

from __future__ import annotations

from pathlib import Path

from astro_token.formats import carry_line
from astro_token.formats.job_file import job_file
from astro_token.formats.rendering import Place, Rendering, Variables


def render(variables: Variables) -> Rendering:
    checkout = variables.environ.get("CI_PROJECT_DIR")
    place = Place("GITLAB_ENV", "the runner", checkout=Path(checkout) if checkout else None)
    to = job_file(place, variables.environ, unset="it takes GitLab Runner 16.4 or later; or use exec")
    lines = [f"{name}={carry_line('GITLAB_ENV', text)}\n" for name, text in variables.assigned.items()]
    then = f"{' '.join(variables.set)} is set in after_script; before_script and script have --format gitlab"
    return Rendering("\n" + "".join(lines), to, then=then)
