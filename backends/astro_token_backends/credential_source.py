"""Describe the source of a credential for people: names of variables, files and services, never a value."""

from __future__ import annotations

import os

from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["JobIdentity", "job_identity", "printable", "printable_path"]

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


def job_identity(audience: str | None, *, environ: Mapping[str, str], timeout: float) -> JobIdentity | None:
    """
    Return the identity token of the CI job; None if there is none.

    Raises:
        AstroTokenError: as `ci_identity`.
    """
    from astro_token.identity import ci_identity

    token = ci_identity(audience, environ=environ, timeout=timeout)
    if token is None:
        return None
    from astro_token.identity.systems import Identity, given, present

    if variable := given(environ):
        return JobIdentity(f"the identity token of {variable.system}", token)
    # With two of them there would have been an error.
    system = next((one.system for one in present(environ) if isinstance(one, Identity)), "the CI system")
    return JobIdentity(f"the identity of {system}", token)


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
