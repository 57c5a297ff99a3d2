"""Describe the source of a credential for people: names of variables, files and services, never a value."""

from __future__ import annotations

import os

from astro_token.errors import AstroTokenError, ConfigError, result
from astro_token.record import Record
from astro_token.system.variables import setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = [
    "JobIdentity",
    "audience_setting",
    "job_identity",
    "option",
    "printable",
    "printable_path",
    "renewal",
]

_LONG = 20  # characters; keys are longer
_LONGEST_OPTION = 64
# A value may stand by mistake in the variable for its file's name, and a token in the one for a role.
_CREDENTIAL = (
    r"eyJ[A-Za-z0-9_-]{8}|-----BEGIN|AGE-SECRET-KEY-|\b(?:hv[sbr]|[sb])\.[A-Za-z0-9_-]{20}|private_key"
)


class JobIdentity(Record):
    """
    Attributes:
        source: for people.
        token: the JWT.
    """

    source: str
    token: SecretValue


def audience_setting(environ: Mapping[str, str], variable: str) -> str | None:
    """
    Return the audience that a variable sets; None if it is unset.

    Raises:
        ConfigError: it cannot be an audience.
    """
    import re

    audience = setting(environ, variable)
    if not audience or re.fullmatch(r"[!-~]{1,255}", audience):
        return audience or None
    raise ConfigError(
        f"{variable} is not an audience",
        hint="use the audience that the service expects in the token of a job, without blanks",
    )


def job_identity(
    variable: str, default: str | None, *, environ: Mapping[str, str], timeout: float
) -> JobIdentity | None:
    """
    Return the identity token of the CI job; None if there is none.

    Args:
        variable: sets the audience; it is named if the token is for another one.
        default: the audience if the variable is unset.

    Raises:
        AstroTokenError: as `audience_setting` and `ci_identity`.
    """
    from astro_token.ci.identity import ci_identity, identity_source

    audience = audience_setting(environ, variable) or default
    outcome: SecretValue | AstroTokenError | None
    try:
        outcome = ci_identity(audience, environ=environ, timeout=timeout)
    except AstroTokenError as error:
        if setting(environ, variable) and "another audience" in error.message:
            error.hint = f"{error.hint}, or change {variable}"
        outcome = error
    source = identity_source(environ)
    del environ  # a traceback with it would lead to all the secrets in it
    token = result(outcome)
    return None if token is None else JobIdentity(source, token)


def printable(text: str | os.PathLike[str]) -> str:
    """Render a name in one line that any terminal can show, unless it contains a credential."""
    import re

    name = str(text)
    if re.search(_CREDENTIAL, name):
        return "<a credential>"
    return name if name.isprintable() else ascii(name)[1:-1]


def option(name: str, value: str) -> str:
    """Render an option of a command, quoted for a shell; nothing if the value is long or cannot be shown."""
    import shlex

    if not value or len(value) > _LONGEST_OPTION or printable(value) != value:
        return ""
    return f" {name} {shlex.quote(value)}"


def renewal(command: str, instead: str, environ: Mapping[str, str]) -> str:
    """
    Name the remedy for a person's login that has ended.

    Args:
        command: logs in again.
        instead: the remedy in a CI system, where nobody can log in.
    """
    from astro_token.ci import in_ci

    return f"nobody can log in in a CI job: {instead}" if in_ci(environ) else f"log in again: {command}"


def printable_path(path: str | os.PathLike[str]) -> str:
    """Render a path, unless it is long, relative and missing: then it may be the file's content."""
    if len(str(path)) < _LONG or os.path.isabs(path) or os.path.lexists(path):  # noqa: PTH117 (it may be a str)
        return printable(path)
    return "<not a path>"
