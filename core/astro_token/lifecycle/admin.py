"""The credential that manages tokens: an admin's, or the token itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    ConfigError,
    InvalidTokenError,
    NoCredentialError,
    with_prefix,
)
from astro_token.record import replace
from astro_token.secrets.admin import ADMIN_VARIABLE, admin_ref
from astro_token.token import AstroToken
from astro_token.tokens.read import read_secret
from astro_token.transport.deadline import Deadline
from astro_token.wording import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.settings.resolve import TokenSettings

__all__ = ["ADMIN_HINT", "may_not_itself", "no_admin", "organization_of", "read_admin"]

ADMIN_HINT = f"set {ADMIN_VARIABLE} to the reference of a credential that manages tokens, or give --admin"


def read_admin(environ: Mapping[str, str], given: str | None, timeout: float) -> AstroToken | None:
    """
    Read the admin's credential, with its reference; None if none is named.

    Args:
        given: its reference as an argument.

    Raises:
        InvalidTokenError: it is not an Astro API token, or has expired.
        AstroTokenError: it cannot be read.
    """
    ref = admin_ref(environ, given)
    if ref is None:
        return None
    secret = read_secret(ref, deadline=Deadline(timeout))
    try:
        token = AstroToken.parse(secret)
    except InvalidTokenError as error:
        failure = with_prefix(error, f"the credential that manages tokens, {ref}")
    else:
        if token.expires is None or token.expires > datetime.now(UTC):
            return replace(token, ref=ref)
        failure = InvalidTokenError(
            f"{ref}: the credential that manages tokens expired at {moment(token.expires)}",
            hint="create a new one in Astro, and store it with `astro-token put`",
        )
    raise failure


def no_admin(purpose: str) -> NoCredentialError:
    """Build the error for a task that needs an admin's credential."""
    return NoCredentialError(f"no credential is named that may {purpose}", hint=ADMIN_HINT)


def may_not_itself() -> AccessDeniedError:
    """Build the error for a token that cannot manage itself, even if it is the admin's credential."""
    return AccessDeniedError(
        "the token may not manage itself, and no other credential is named", hint=ADMIN_HINT
    )


def organization_of(
    settings: TokenSettings | None, token: AstroToken | None, admin: AstroToken | None
) -> str:
    """
    Return the organization of a token: by its own claim, the expectation, or the admin's.

    Raises:
        AccessDeniedError: the admin's credential is of another one.
        ConfigError: none of them names one.
    """
    names = (
        token.organization if token else None,
        settings.expected.organization if settings else None,
        admin.organization if admin else None,
    )
    for name in names:
        if name is not None:
            own = admin.organization if admin else None
            if own not in {None, name}:
                raise AccessDeniedError(
                    f"the token is of the organization {name}, "
                    f"and the credential that manages tokens of {own}",
                    hint=f"name a credential of the token's organization in {ADMIN_VARIABLE} or --admin",
                )
            return name
    raise ConfigError(
        "the organization of the token is unknown",
        hint="write organization in the token's table of astro-token.toml",
    )
