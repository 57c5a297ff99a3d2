"""
CircleCI: the shell of the steps after this one reads the file that `BASH_ENV` names.

CircleCI names the file; the first step that needs it creates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat
from astro_token.formats.rendering import Rendering, Variables, job_file
from astro_token.identity import IdentityRequest, NoIdentity
from astro_token.system.variables import secret_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

_TOKEN = "CIRCLE_OIDC_TOKEN_V2"


def identity(environ: Mapping[str, str], system: CISystem | None) -> IdentityRequest | NoIdentity | None:
    def fetch(audience: str | None, seconds: float) -> SecretValue:
        from json import dumps

        from astro_token.identity.program import printed_token
        from astro_token.identity.stored import token_in_variable
        from astro_token.identity.web_token import is_usable

        token = token_in_variable(_TOKEN, environ)
        if audience is None or is_usable(token, audience):
            return token
        argv = ["circleci", "run", "oidc", "get", "--claims", dumps({"aud": audience})]
        hint = "run astro-token in the job itself, where CircleCI's own program is"
        return printed_token(argv, environ, seconds, hint, [_TOKEN])

    if secret_setting(environ, _TOKEN):
        return IdentityRequest("CircleCI", fetch, is_stored=True)
    hint = f"{_TOKEN} is not set: pass it to the container that the job has started"
    return NoIdentity("CircleCI", hint) if system else None


def bash_env(variables: Variables) -> Rendering:
    from astro_token.formats.shells import posix_assignments

    to = job_file(
        "BASH_ENV",
        variables.environ,
        "CircleCI",
        checkout="CIRCLE_WORKING_DIRECTORY",  # `~/project`, as a rule
        hint="run the step by bash, which is the default, or use exec",
        may_create=True,
    )
    then = f'{variables.names} is set for the steps after this one; in this one: source "$BASH_ENV"'
    # The empty line ends one that an earlier command left open.
    return Rendering("\n" + posix_assignments(variables), to, then=then)


SYSTEMS = (
    CISystem(
        "CircleCI",
        "circleci",
        {"CIRCLECI": "true"},
        precedence=30,
        format="circleci",
        formats={"circleci": ExportFormat(bash_env, exclusive=True)},
        terminal=True,
        identity=identity,
        identity_variables=("CIRCLE_OIDC_TOKEN", _TOKEN),
    ),
)
