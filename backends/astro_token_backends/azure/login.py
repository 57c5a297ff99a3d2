"""One login for a process, for secrets and keys alike."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, IntegrityError
from astro_token.log import logger, silence
from astro_token.system.programs import settle_platform
from astro_token_backends.azure import LOGGERS
from astro_token_backends.azure.address import is_of_a_cloud, may_log_in_to, resource_of
from astro_token_backends.azure.client_credentials import ClientCredentials
from astro_token_backends.azure.sdk_login import SdkLogin
from astro_token_backends.azure.ways import find_way
from astro_token_backends.login import LoginLock, one_per_process

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from astro_token_backends.azure.wire import Wire

__all__ = ["Login", "shared"]

_RENEWED = 300.0  # seconds before a token's end


class Login:
    """
    Logs in when a vault first asks for it.

    Args:
        credential: of the SDK, in place of what the environment leads to.
    """

    def __init__(self, credential: Any = None) -> None:
        self._given = credential
        self._wire: Wire | None = None
        self._lock = LoginLock("Azure")
        self.forget()

    def forget(self) -> None:
        """Lets go of everything: in a forked child it is the parent's."""
        if self._wire is not None:
            self._wire.forget()
        self._way: ClientCredentials | SdkLogin | None = None
        self._tokens: dict[tuple[str, str | None], Any] = {}
        self._lock.forget()
        self._making = threading.Lock()

    def close(self) -> None:
        self._way = None
        self._tokens.clear()
        if self._wire is not None:
            self._wire.close()

    @property
    def wire(self) -> Wire:
        with self._making:  # each thread keeps its time on the wire: a second one would know nothing of it
            if self._wire is None:
                from astro_token_backends.azure.wire import Wire

                settle_platform()  # azure.core's and azure.identity's user agents contain it
                self._wire = Wire()
            return self._wire

    def options(self, host: str) -> dict[str, Any]:
        """How a client of the SDK gets to a vault, and how it logs in there."""
        from astro_token_backends.azure.wire import VaultWire

        return {
            "credential": _Credential(self, host),
            "transport": VaultWire(self.wire, host, lambda: self.challenge(host)),
            "retry_total": 0,
            "permit_redirects": False,
            "logging_enable": False,
            # The challenge has to name the vault's own domain; a host of one's own is in none.
            "verify_challenge_resource": is_of_a_cloud(host),
        }

    def challenge(self, host: str) -> str | None:
        """What a vault would answer to a request without a token; None where only it can tell."""
        resource = resource_of(host)
        way = self._way_found() if resource else None
        if resource is None or not isinstance(way, ClientCredentials):
            return None
        return f'Bearer authorization="{way.authority}/{way.tenant}", resource="{resource}"'

    def credential_source(self, host: str) -> str:
        """
        What a login to that vault takes, in words.

        What only shows by asking is asked where it is known for which resource.

        Raises:
            AstroTokenError: there is nothing, or the environment is not usable.
        """
        way = self._way_found()
        if isinstance(way, SdkLogin) and way.sought:
            self.log_in(host)
        return way.source

    def log_in(self, host: str) -> None:
        """
        Logs in, unless only the vault can tell for which resource.

        Raises:
            AstroTokenError: there is no token.
        """
        resource = resource_of(host)
        if resource is None:
            return
        way = self._way_found()
        self.token(f"{resource}/.default", way.tenant if isinstance(way, ClientCredentials) else None, None)

    def token(self, scope: str, tenant: str | None, claims: str | None) -> Any:
        """
        An access token, got once.

        Raises:
            AstroTokenError: there is none.
        """
        with self._alone():
            token = self._tokens.get((scope, tenant))
            if token is None or claims or token.expires_on - time.time() < _RENEWED:
                way = self._found()
                logger.debug("logging in to Azure with %s", way.source)
                token = way.token(self.wire, scope, tenant, claims)
                self._tokens[scope, tenant] = token
            return token

    def _way_found(self) -> ClientCredentials | SdkLogin:
        with self._alone():
            return self._found()

    def _found(self) -> ClientCredentials | SdkLogin:
        way = self._way
        if way is None:
            found = find_way(self.wire, os.environ, self._given)
            if isinstance(found, AstroTokenError):
                raise found
            way = self._way = found
            silence(LOGGERS)  # azure.identity's loggers, which its import has made
        return way

    def _alone(self) -> AbstractContextManager[None]:
        return self._lock.within(self.wire.seconds)


class _Credential:
    """A vault's view of the login: what the SDK's clients take for a credential."""

    def __init__(self, login: Login, host: str) -> None:
        self._login, self._host = login, host

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **_: Any
    ) -> Any:
        if len(scopes) != 1 or not may_log_in_to(self._host, scopes[0]):
            raise IntegrityError(
                "the vault asks for a login that is not for vaults", hint="check the reference's host"
            )
        return self._login.token(scopes[0], tenant_id, claims)


shared = one_per_process(Login)
