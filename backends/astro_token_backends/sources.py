"""Where a credential is from, in words for people: names of variables, files and services, never a value."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["JobIdentity", "job_identity", "shown", "shown_file"]

_LONG = 20  # characters, of which keys have more
# What a CI system hands over as a value lands where the name of its file belongs, a token where a role does.
_CREDENTIAL = re.compile(
    r"eyJ[A-Za-z0-9_-]{8}|-----BEGIN|AGE-SECRET-KEY-|\b(?:hv[sbr]|[sb])\.[A-Za-z0-9_-]{20}|private_key"
)


class JobIdentity(NamedTuple):
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
    from astro_token.ci.identity import ci_identity, identity_source

    token = ci_identity(audience, environ=environ, timeout=timeout)
    return None if token is None else JobIdentity(identity_source(environ), token)


def shown(text: str | os.PathLike[str]) -> str:
    """A profile or a role of the user's own, in one line that any terminal can show; no credential."""
    plain = str(text)
    if _CREDENTIAL.search(plain):
        return "<a credential>"
    return plain if plain.isprintable() else ascii(plain)[1:-1]


def shown_file(path: str | os.PathLike[str]) -> str:
    """As `shown`. What is long, neither absolute nor there is hardly a path: it may be what belongs in it."""
    if len(str(path)) < _LONG or os.path.isabs(path) or os.path.lexists(path):  # noqa: PTH117 (a text)
        return shown(path)
    return "<no path>"
