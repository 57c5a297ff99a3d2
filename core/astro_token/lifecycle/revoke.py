"""Revoke a token at Astro."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astro_token.astro_api.tokens import Tokens
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    InvalidTokenError,
    OutputError,
    SecretNotFoundError,
)
from astro_token.lifecycle.admin import may_not_itself, no_admin, organization_of
from astro_token.record import Record
from astro_token.tokens.read_many import verify_all
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astro_token.astro_api import AstroApi
    from astro_token.astro_api.records import TokenRecord
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken

__all__ = ["Holders", "Revocation", "holders_of", "refuse"]

_PROPAGATION_SECONDS = 30.0
_PAUSE_SECONDS = 1.0


class Holders(Record):
    """
    Attributes:
        names: of the configured tokens that are this one.
        unread: names of configured tokens that could not be read.
    """

    names: tuple[str, ...]
    unread: tuple[str, ...]


def holders_of(ident: str, requests: Sequence[TokenSettings | AstroTokenError]) -> Holders:
    """Read configured tokens, and return those with this identifier."""
    names, unread = [], []
    for report in verify_all(requests):
        settings = report.settings
        name = (settings.name or str(settings.ref)) if settings else "a configured token"
        if report.token is not None:
            names += [name] if report.token.token_id == ident else []
        elif not isinstance(report.error, SecretNotFoundError | InvalidTokenError):
            unread.append(name)
    return Holders(tuple(names), tuple(unread))


class Revocation:
    """
    Args:
        ident: of the token to revoke.
        current: the token with its value, if it is the current one of a reference.
        settings: of that reference, or None.
        admin: None if the token manages itself.

    Raises:
        NoCredentialError: no credential is named, and the token is not at hand.
        ConfigError: the organization is unknown.
    """

    def __init__(
        self,
        api: AstroApi,
        ident: str,
        *,
        current: AstroToken | None,
        settings: TokenSettings | None,
        admin: AstroToken | None,
        timeout: float,
    ) -> None:
        bearer = admin or current
        if bearer is None:
            raise no_admin("revoke tokens")
        self.ident, self._is_own = ident, bearer.token_id == ident
        self._unproven = None if bearer is current else current
        self._deadline = Deadline(timeout)
        organization = organization_of(settings, current, admin)
        self._tokens = Tokens(api, organization, bearer.secret, self._deadline)

    def look_up(self) -> TokenRecord:
        """
        Return the token as Astro keeps it.

        Raises:
            SecretNotFoundError: Astro does not have it.
            InvalidTokenError: Astro does not accept the value that names it, so that it may be another token.
            AstroTokenError: the request failed.
        """
        try:
            record = self._tokens.get(self.ident)
        except AccessDeniedError as error:
            raise (may_not_itself() if self._is_own else error) from None
        if record is None:
            raise SecretNotFoundError(
                f"Astro does not have a token {self.ident}",
                hint="it was revoked already, or it belongs to another organization",
            )
        value = self._unproven
        if value is not None and not self._tokens.accepts(self.ident, value.secret):
            raise InvalidTokenError(
                f"Astro does not accept the value, so that nothing proves that it is the token {self.ident}",
                hint="find the token with `astro-token audit`, then revoke it with --id",
            )
        return record

    def revoke(self) -> None:
        """
        Delete the token, and verify that Astro does not have it any more.

        Raises:
            BackendUnavailableError: Astro still has it.
            AstroTokenError: a request failed.
        """
        try:
            self._tokens.delete(self.ident)
        except BackendUnavailableError:
            if not self._is_gone():
                raise
        end = time.monotonic() + min(_PROPAGATION_SECONDS, self._deadline.remaining)
        while not self._is_gone():
            if time.monotonic() + _PAUSE_SECONDS > end:
                raise BackendUnavailableError(
                    "Astro still has the token after its deletion", hint="run the same command again"
                )
            time.sleep(_PAUSE_SECONDS)

    def _is_gone(self) -> bool:
        try:
            return self._tokens.get(self.ident) is None
        except AccessDeniedError:
            if self._is_own:
                return True
            raise


def refuse(ident: str, holders: Holders) -> None:
    """
    Refuse to revoke a token that consumers may read.

    Raises:
        OutputError: a configured reference holds it, or cannot be read.
    """
    if holders.names:
        raise OutputError(
            f"the token {ident} is the current token of {', '.join(holders.names)}",
            hint="replace it first, with `astro-token rotate`; or add --force, and its consumers fail",
        )
    if holders.unread:
        raise OutputError(
            f"{', '.join(holders.unread)} could not be read, and may hold the token {ident}",
            hint="run `astro-token check --all` for the reason; or add --force if its consumers may fail",
        )
