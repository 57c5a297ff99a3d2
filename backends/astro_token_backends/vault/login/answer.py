"""What a login gives."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from astro_token.errors import AccessDeniedError, ConfigError, IntegrityError
from astro_token.secret import SecretValue

__all__ = ["Login", "header", "login_of", "text"]

_MARGIN = 5.0  # a token that is about to end would end between two requests


class Login(NamedTuple):
    """
    A tuple, as a dataclass takes ten times as long to make, at every start.

    Attributes:
        token: what requests carry.
        ends: when its lease is over, on the monotonic clock; None where it is not known to end.
        made: our login made it, and may make another one.
        revocable: it is a record in Vault, and ours to revoke.
    """

    token: SecretValue
    ends: float | None = None
    made: bool = False
    revocable: bool = False

    def is_over(self) -> bool:
        return self.ends is not None and time.monotonic() >= self.ends


def login_of(answer: Any, method: str, started: float) -> Login:
    """
    Args:
        started: when it was asked, on the monotonic clock.
    """
    token = text(answer, "auth", "client_token")
    if token is None:
        auth = answer.get("auth")
        if isinstance(auth, dict) and auth.get("mfa_requirement"):
            raise AccessDeniedError(
                f"the login by {method} wants a second factor",
                hint="use a login that needs none for a machine",
            )
        raise IntegrityError(
            "the answer to the login holds no token", hint="see that VAULT_ADDR names Vault itself"
        )
    auth = answer["auth"]
    lease = auth.get("lease_duration")
    ends = None
    if isinstance(lease, int) and lease > 0:
        ends = started + max(lease - _MARGIN, lease / 2)
    # A batch token is no record in Vault: there is nothing to revoke.
    revocable = auth.get("token_type") != "batch"
    return Login(SecretValue(header(token, "the token of the login").encode()), ends, True, revocable)


def header(token: str, what: str) -> str:
    """
    A token, as a request's header can carry it.

    Raises:
        ConfigError: it cannot.
    """
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(f"{what} contains a character that no token has", hint="set it again, as one line")
    return token


def text(answer: Any, *path: str) -> str | None:
    """A text in an answer; None where there is none."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str) and answer else None
