"""Describe the source of a credential for people: names of variables, files and services, never a value."""

from __future__ import annotations

import os

from astro_token.errors import AccessDeniedError
from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["JobIdentity", "job_identity", "printable", "printable_path", "settings_text", "without_line_end"]

_LONG = 20  # characters; keys are longer
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


def job_identity(
    audience: str | None, *, environ: Mapping[str, str], timeout: float, variable: str | None = None
) -> JobIdentity | None:
    """
    Return the identity token of the CI job; None if there is none.

    Args:
        variable: sets the audience; named if the token is for another one.

    Raises:
        AstroTokenError: as `ci_identity`.
    """
    from astro_token.ci.identity import ci_identity, identity_source

    try:
        token = ci_identity(audience, environ=environ, timeout=timeout)
    except AccessDeniedError as error:
        if variable and variable in environ and "another audience" in error.message:
            error.hint = f"{error.hint}, or change {variable}"
        raise
    return None if token is None else JobIdentity(identity_source(environ), token)


def settings_text(environ: Mapping[str, str], name: str) -> str:
    """Return a variable without a line end at its end, which editors and CI systems add; empty if unset."""
    return without_line_end(environ.get(name, ""))


def without_line_end(text: str) -> str:
    """Remove one line end from the end of a variable or of a credential's file."""
    return text.removesuffix("\n").removesuffix("\r")


def printable(text: str | os.PathLike[str]) -> str:
    """Render a name in one line that any terminal can show, unless it contains a credential."""
    import re

    name = str(text)
    if re.search(_CREDENTIAL, name):
        return "<a credential>"
    return name if name.isprintable() else ascii(name)[1:-1]


def printable_path(path: str | os.PathLike[str]) -> str:
    """Render a path, unless it is long, relative and missing: then it may be the file's content."""
    if len(str(path)) < _LONG or os.path.isabs(path) or os.path.lexists(path):  # noqa: PTH117 (it may be a str)
        return printable(path)
    return "<not a path>"
