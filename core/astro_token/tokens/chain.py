"""
The next reference of a chain.

The chain continues if nothing is configured here for a reference, or if its secret does not exist:
so one project file serves a laptop and a CI system. It stops at every other failure.
Otherwise a denial, or an outage, would choose which token is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import (
    AstroTokenError,
    MissingDependencyError,
    NoCredentialError,
    NoStoreError,
    SecretNotFoundError,
    UnusableSecretError,
    with_prefix,
    worst,
)
from astro_token.log import logger
from astro_token.record import Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astro_token.secrets.ref import SecretRef
    from astro_token.tokens.steps import TokenPath

__all__ = ["STATUSES", "Member", "members", "try_next", "try_others"]

STATUSES = ("used", "passed over", "failed", "not tried")


class Member(Record):
    """
    A reference of a chain, after the chain was tried.

    Attributes:
        status: one of `STATUSES`. A reference that is passed over is one that the chain continued after.
        error: the reason not to use it; None if it is used, or was not tried.
    """

    ref: SecretRef
    status: str
    error: AstroTokenError | None = None


def try_others(
    path: TokenPath, error: AstroTokenError, attempt: Callable[[TokenPath], AstroTokenError | None]
) -> AstroTokenError | None:
    """
    Try the other references of a chain, one after the other.

    Args:
        error: the reason not to use the first one.
        attempt: reads the current reference and selects its field, and returns the error.
    """
    failure: AstroTokenError | None = error
    while failure is not None:
        if final := try_next(path, failure):
            return final
        failure = attempt(path)
    return None


def try_next(path: TokenPath, error: AstroTokenError) -> AstroTokenError | None:
    """
    Turn a path to the next reference of its chain.

    Args:
        error: the reason not to use the current reference.

    Returns:
        None if the steps can be walked again; the error of the token if they must not be.
    """
    settings = path.settings
    if not _continues(error):
        return error
    path.passed_over += ((settings.ref, error),)
    if not settings.chain:
        return _of_all(path.passed_over)
    ref, *others = settings.chain
    logger.debug("%s is passed over (%s); trying %s", settings.ref, type(error).__name__, ref)
    path.turn_to(replace(settings, ref=ref, chain=tuple(others)))
    return None


def _continues(error: AstroTokenError) -> bool:
    if isinstance(error, SecretNotFoundError):
        return not isinstance(error, UnusableSecretError)
    return isinstance(error, NoCredentialError | NoStoreError | MissingDependencyError)


def _of_all(passed_over: Sequence[tuple[SecretRef, AstroTokenError]]) -> AstroTokenError:
    """Build the error of a chain without a token: the gravest one, with the reasons of all references."""
    errors = [with_prefix(error, ref) for ref, error in passed_over]
    code = worst([error.exit_code for error in errors])
    failure = next(error for error in errors if error.exit_code == code)
    # On a laptop one reference is of use, and in CI another one: a reader needs the hint for each.
    failure.hint = "; ".join(f"for {ref}: {error.hint}" for ref, error in passed_over if error.hint) or None
    failure.message = (
        f"no reference of the chain gives a token: {'; '.join(error.message for error in errors)}"
    )
    return failure


def members(path: TokenPath, error: AstroTokenError | None) -> tuple[Member, ...]:
    """
    Return the references of a chain with their outcomes, in order; nothing for a single reference.

    Args:
        error: of the token, if there is one.
    """
    if not path.is_chain:
        return ()
    settings = path.settings
    selected: object = path.selected  # None before a field was selected
    tried = [Member(ref, "passed over", reason) for ref, reason in path.passed_over]
    if selected is not None:
        tried.append(Member(settings.ref, "used"))
    elif not tried or tried[-1].ref != settings.ref:
        tried.append(Member(settings.ref, "failed", error))
    return (*tried, *(Member(ref, "not tried") for ref in settings.chain))
