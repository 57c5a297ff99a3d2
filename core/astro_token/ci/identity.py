"""
The identity token of the running CI job: an OIDC token that services accept as a credential.

    token = ci_identity("sts.amazonaws.com", timeout=10)

A token that the user set has precedence over the one that the system gives.
The identity of the machine never replaces the job's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.ci import all_systems, ci_systems
from astro_token.errors import AstroTokenError, ConfigError, result
from astro_token.identity import IdentityRequest, NoIdentity, request_token
from astro_token.identity.stored import token_in_file, token_in_variable
from astro_token.log import logger
from astro_token.system.variables import secret_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["ci_identity", "identity_hint", "identity_source", "job_identities"]


def ci_identity(
    audience: str | None, *, environ: Mapping[str, str] | None = None, timeout: float
) -> SecretValue | None:
    """
    Return the job's identity token, from one attempt; it is kept in memory only.

    Args:
        audience: the service that it is for; None takes the system's default.

    Returns:
        the JWT; None if there is no such identity, and then `identity_hint` may give advice.

    Raises:
        AstroTokenError: the token cannot be obtained, is for another audience, or has expired.
            No other identity is tried instead.
    """
    identities = job_identities(os.environ if environ is None else environ)
    requests = [each for each in identities if isinstance(each, IdentityRequest)]
    if not requests:
        return None
    outcome: SecretValue | AstroTokenError
    if len(requests) > 1:
        # An agent that runs inside another system's job passes that job's variables on to its own jobs.
        outcome = ConfigError(
            f"the environment holds the identities of {' and '.join(each.source for each in requests)}",
            hint="unset the variables of the wrong one, or set ASTRO_TOKEN_ID_TOKEN to the token",
        )
    else:
        if len(identities) > 1:
            logger.warning("of several CI systems in the environment, %s has an identity", requests[0].source)
        outcome = request_token(requests[0], audience, timeout)
    del environ, identities, requests  # a traceback with them would lead to all the secrets in them
    return result(outcome)


def identity_hint(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the advice for a job whose CI system gives it no identity; None in other situations."""
    identities = job_identities(os.environ if environ is None else environ)
    missing = [each for each in identities if isinstance(each, NoIdentity)]
    return f"{missing[0].source}: {missing[0].hint}" if missing and missing == identities else None


def identity_source(environ: Mapping[str, str]) -> str:
    """Describe the source of the token that `ci_identity` returns, for people."""
    if request := _set_by_user(environ):
        return f"the identity token of {request.source}"
    requests = [each for each in job_identities(environ) if isinstance(each, IdentityRequest)]
    return f"the identity of {requests[0].source if requests else 'the CI system'}"


def job_identities(environ: Mapping[str, str]) -> list[IdentityRequest | NoIdentity]:
    """Return the identities in the environment: several if CI systems are nested."""
    if request := _set_by_user(environ):
        return [request]
    detected = {system.key: system for system in ci_systems(environ)}
    functions = {system.identity: system.key for system in all_systems() if system.identity}
    outcomes = [function(environ, detected.get(key)) for function, key in functions.items()]
    identities = [outcome for outcome in outcomes if outcome]
    # A machine's identity is a job's only if the machine exists for that job alone.
    return [each for each in identities if not each.of_machine] or identities


def _set_by_user(environ: Mapping[str, str]) -> IdentityRequest | None:
    token, file = "ASTRO_TOKEN_ID_TOKEN", "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE"
    if secret_setting(environ, token):
        return IdentityRequest(token, lambda *_: token_in_variable(token, environ), is_stored=True)
    if secret_setting(environ, file):
        return IdentityRequest(file, lambda *_: token_in_file(file, environ), is_stored=True)
    return None
