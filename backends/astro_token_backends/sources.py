"""Where a credential is from, in words for people: names of variables, files and services, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["JobIdentity", "job_identity", "shown"]


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
    What the CI system gives the job to prove who it is; None where there is nothing of the kind.

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


def shown(text: str | os.PathLike[str]) -> str:
    """A path, a profile or a role of the user's own, in one line that any terminal can show."""
    plain = str(text)
    return plain if plain.isprintable() else ascii(plain)[1:-1]
