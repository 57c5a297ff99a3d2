"""
The identity that the running CI system gives a job: an OIDC token, which services take for a credential.

    token = ci_identity("sts.amazonaws.com", timeout=10)

What was set for us comes first, then what the system gives.
The machine that a job runs on never stands in for the job.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import AstroTokenError, ConfigError, bare, result
from astro_token.identity.systems import Identity, NoIdentity, given, machine, present
from astro_token.identity.web_token import checked
from astro_token.log import logger
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.secret import SecretValue

__all__ = ["ci_identity", "google_identity", "identity_hint"]

_T = TypeVar("_T")


def ci_identity(
    audience: str | None, *, environ: Mapping[str, str] | None = None, timeout: float
) -> SecretValue | None:
    """
    The running job's identity token, got by one attempt and kept in memory.

    Args:
        audience: whom it is for; None takes whatever the system makes it for by itself.

    Returns:
        the JWT; None where there is no such identity, and then `identity_hint` may know why.

    Raises:
        AstroTokenError: there is one, and it cannot be had, is for others, or has expired.
            No other is tried in its place.
    """
    outcome = _outcome(partial(_of_job, environ, audience), timeout)
    del environ  # a traceback that leads to it leads to all the secrets in it
    return result(outcome)


def google_identity(
    audience: str, *, environ: Mapping[str, str] | None = None, timeout: float
) -> SecretValue:
    """
    The identity token of this machine at Google Cloud, for a caller that was told to use that one.

    Raises:
        AstroTokenError: it cannot be had.
    """
    outcome = _outcome(partial(_of_machine, environ, audience), timeout)
    del environ
    return result(outcome)


def identity_hint(environ: Mapping[str, str] | None = None) -> str | None:
    """What to do where the running CI system gives this job no identity; None where that is not so."""
    environ = os.environ if environ is None else environ
    found = [] if given(environ) else present(environ)
    missing = [system for system in found if isinstance(system, NoIdentity)]
    return f"{missing[0].system}: {missing[0].mend}" if missing and len(missing) == len(found) else None


def _of_job(environ: Mapping[str, str] | None, audience: str | None, seconds: float) -> SecretValue | None:
    environ = os.environ if environ is None else environ
    identity = given(environ) or _of_one_system(present(environ))
    return _token(identity, audience, seconds) if identity else None


def _of_machine(environ: Mapping[str, str] | None, audience: str, seconds: float) -> SecretValue:
    return _token(machine(os.environ if environ is None else environ), audience, seconds)


def _token(identity: Identity, audience: str | None, seconds: float) -> SecretValue:
    if audience is not None and not (audience and audience.isprintable()):
        raise ConfigError("the audience of the identity token is malformed", hint="give it as visible text")
    logger.debug("taking the identity of %s", identity.system)
    return checked(identity.token(audience, seconds), audience, identity.system, identity.audience_hint)


def _of_one_system(found: list[Identity | NoIdentity]) -> Identity | None:
    able = [system for system in found if isinstance(system, Identity)]
    if len(able) > 1:
        # An agent that is started inside another system's job hands that job's variables down to its own.
        raise ConfigError(
            f"the environment holds the identities of {' and '.join(system.system for system in able)}",
            hint="unset the variables of the one that is not meant, or set ASTRO_TOKEN_ID_TOKEN to the token",
        )
    if able and len(found) > 1:
        logger.warning("of several CI systems in the environment, %s has an identity", able[0].system)
    return able[0] if able else None


def _outcome(call: Callable[[float], _T], timeout: float) -> _T | AstroTokenError:
    """What a call returns or raises in time; a socket's own timeout is outlasted by a server that drips."""
    try:
        return Deadline(timeout).once(call)
    except AstroTokenError as error:
        return bare(error)
