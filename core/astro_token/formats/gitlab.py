"""
GitLab CI: the environment of `after_script`, through the file that `GITLAB_ENV` names.

The runner reads it line by line and takes off blanks; a last line without an end is lost.
`before_script` and `script` share a shell, which does not read it: they have `gitlab`.
A report of the type dotenv is no place for a secret: anyone who sees the job can download it.
"""

from __future__ import annotations

from pathlib import Path

from astro_token.errors import OutputError
from astro_token.formats import File, Rendering, Variables, carry_line


def render(variables: Variables) -> Rendering:
    path, checkout = Path(variables.environ.get("GITLAB_ENV") or ""), variables.environ.get("CI_PROJECT_DIR")
    if path == Path():
        raise OutputError(
            "GITLAB_ENV is not set, so there is no place for the value",
            hint="it takes GitLab Runner 16.4 or later; or use exec",
        )
    if not path.is_absolute() or ".." in path.parts or (checkout and path.is_relative_to(checkout)):
        raise OutputError(
            f"GITLAB_ENV leads to {path}, where the runner keeps no such file",
            hint="the runner sets it: do not set it yourself, or use exec",
        )
    lines = [f"{name}={carry_line('GITLAB_ENV', text)}\n" for name, text in variables.set.items()]
    then = f"{' '.join(variables.set)} is set in after_script; before_script and script have --format gitlab"
    return Rendering("\n" + "".join(lines), File(path), then=then)
