"""The result of a login."""

from __future__ import annotations

import time
from typing import Any

from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError
from astro_token.record import Record
from astro_token.secret import SecretValue

__all__ = ["Login", "checked_token", "parse_login", "string_at"]

_MARGIN = 5.0  # seconds; a token that is about to expire would do so between two requests


class Login(Record):
    """
    Attributes:
        ends: end of the lease by the monotonic clock; None if it is unknown.
        is_ours: our login created the token, and can create another one.
        is_revocable: Vault stores the token, and we may revoke it.
    """

    token: SecretValue
    ends: float | None = None
    is_ours: bool = False
    is_revocable: bool = False

    def has_ended(self) -> bool:
        return self.ends is not None and time.monotonic() >= self.ends


def parse_login(content: Any, method: str, started: float) -> Login:
    """
    Read the response to a login.

    Args:
        started: time of the request by the monotonic clock.
    """
    auth = content.get("auth")
    token = string_at(auth, "client_token")
    if token is None:
        if isinstance(auth, dict) and auth.get("mfa_requirement"):
            raise AccessDeniedError(
                f"the login by {method} requires a second factor",
                hint="use a login that a machine can make without one",
            )
        raise IntegrityError(
            "the response to the login contains no token", hint="check that VAULT_ADDR names Vault itself"
        )
    lease = auth.get("lease_duration")
    ends = None
    if isinstance(lease, int) and lease > 0:
        ends = started + max(lease - _MARGIN, lease / 2)
    is_revocable = auth.get("token_type") != "batch"  # Vault does not store those
    value = SecretValue(checked_token(token, "the token of the login").encode())
    return Login(value, ends, is_ours=True, is_revocable=is_revocable)


def checked_token(token: str, name: str) -> str:
    """
    Return a token that fits into a request's header.

    Raises:
        ConfigError: it does not.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{name} contains a character that no Vault token contains", hint="set it again, as one line"
        )
    return token


def string_at(content: Any, *path: str) -> str | None:
    """A string in a JSON object; None if it is missing or empty."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content if isinstance(content, str) and content else None
