"""
GitLab CI.

`before_script` and `script` share a shell, which evaluates the format `gitlab`. `after_script` has another
one, whose environment the runner reads from the file that `GITLAB_ENV` names, line by line and without outer
blanks; a last line without an end is lost.
A report of the type dotenv is not safe: anyone who sees the job can download it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat, script_format
from astro_token.formats.rendering import Rendering, Variables, job_file
from astro_token.identity import NoIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUFFIX = "_ID_TOKEN"


def identity(environ: Mapping[str, str], system: CISystem | None) -> NoIdentity | None:
    """Identity tokens are in variables that the user names: the one for us cannot be guessed."""
    if system is None:
        return None
    import re

    pattern = re.compile(rf"[A-Z][A-Z0-9_]{{0,99}}{_SUFFIX}")
    names = (name for name, value in environ.items() if value and pattern.fullmatch(name))
    name = min(names, default=None)
    other = f", or set ASTRO_TOKEN_ID_TOKEN to ${name}" if name else ""
    return NoIdentity("GitLab CI", f"give the job `id_tokens: ASTRO_TOKEN_ID_TOKEN: aud: …`{other}")


def after_script(variables: Variables) -> Rendering:
    from astro_token.formats.text import carry_line

    hint = "use GitLab Runner 16.4 or later, or use exec"
    to = job_file("GITLAB_ENV", variables.environ, "the runner", checkout="CI_PROJECT_DIR", hint=hint)
    lines = [f"{name}={carry_line('GITLAB_ENV', text)}\n" for name, text in variables.assigned.items()]
    then = f"{variables.names} is set in after_script; for before_script and script use --format gitlab"
    return Rendering("\n" + "".join(lines), to, then=then)


SYSTEMS = (
    CISystem(
        "GitLab CI",
        "gitlab",
        {"GITLAB_CI": "true"},
        precedence=20,
        format="gitlab",
        formats={
            "gitlab": script_format("it lasts through before_script and script of this job"),
            "gitlab-env": ExportFormat(after_script, exclusive=True),
        },
        identity=identity,
        identity_variables=("CI_JOB_JWT", "CI_JOB_JWT_V1", "CI_JOB_JWT_V2"),
        identity_suffix=_SUFFIX,
    ),
)
