"""One login per process, for secrets and keys alike."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import IntegrityError
from astro_token.log import logger, silence
from astro_token_backends.azure import LOGGERS
from astro_token_backends.azure.client_credentials import ClientCredentials
from astro_token_backends.azure.credential_chain import choose_login
from astro_token_backends.azure.settings import is_in_cloud, may_request, vault_resource
from astro_token_backends.login import LoginLock, one_per_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.azure.sdk_login import SdkLogin

__all__ = ["Login", "shared"]

_RENEWED = 300.0  # seconds before a token expires


class Login:
    """
    Logs in when a vault first requires it. Creating it loads the SDK's core.

    Args:
        credential: a credential of the SDK, which replaces those in the environment.
        environ: in place of `os.environ`, for the choice of the credential.
    """

    def __init__(self, credential: Any = None, *, environ: Mapping[str, str] | None = None) -> None:
        from astro_token_backends.azure.adapter import LoginTransport

        self._credential = credential
        self._environ: Callable[[], Mapping[str, str]] = lambda: os.environ if environ is None else environ
        self.transport = LoginTransport()
        self._lock = LoginLock("Azure")
        # A lock of its own: a thread that waits for the choice must not wait for a program of the login.
        self._choice = LoginLock("Azure")
        self.forget()

    def forget(self) -> None:
        """Drop the login in a forked child."""
        self._method: ClientCredentials | SdkLogin | None = None
        self._tokens: dict[tuple[str, str | None], Any] = {}
        self._lock.forget()
        self._choice.forget()

    def close(self) -> None:
        self._method = None
        self._tokens.clear()
        self.transport.end()

    def client_options(self, host: str) -> dict[str, Any]:
        """Options for the SDK's client of a vault."""
        from astro_token_backends.azure.adapter import VaultTransport

        return {
            "credential": _Credential(self, host),
            "transport": VaultTransport(self.transport, host, lambda: self._challenge(host)),
            "retry_total": 0,
            "permit_redirects": False,
            "logging_enable": False,
            # The challenge must name the vault's own domain. A listed host is in none.
            "verify_challenge_resource": is_in_cloud(host),
        }

    def credential_source(self, host: str) -> str:
        """Describe the credential for a vault. One that only a request can find is requested."""
        method = self._chosen_method()
        if method.is_probe:
            self.log_in(host)
        return method.source

    def log_in(self, host: str) -> None:
        """Log in, unless the audience is unknown until the vault names it."""
        resource = vault_resource(host)
        if resource is not None:
            self.token(f"{resource}/.default", self._chosen_method().tenant, None)

    def token(self, scope: str, tenant: str | None, claims: str | None) -> Any:
        """Return an access token, and keep it until it is about to expire."""
        method = self._chosen_method()
        if method.programs and not self._kept(scope, tenant):  # they take longer than a request
            self.transport.attempt.extend()
        with self._lock.within(self.transport.attempt.seconds):
            token = None if claims else self._kept(scope, tenant)
            if token is None:
                logger.debug("logging in to Azure with %s", method.source)
                token = method.token(self.transport, scope, tenant, claims)
                self._tokens[scope, tenant] = token
            return token

    def _kept(self, scope: str, tenant: str | None) -> Any:
        """A token that does not expire soon; None without one."""
        token = self._tokens.get((scope, tenant))
        return token if token and token.expires_on - time.time() >= _RENEWED else None

    def _challenge(self, host: str) -> str | None:
        """The vault's response to a request without a token; None if only the vault knows it."""
        resource = vault_resource(host)
        method = self._chosen_method() if resource else None
        if not isinstance(method, ClientCredentials):
            return None
        return f'Bearer authorization="{method.authority}/{method.tenant}", resource="{resource}"'

    def _chosen_method(self) -> ClientCredentials | SdkLogin:
        if method := self._method:
            return method
        with self._choice.within(self.transport.attempt.seconds):
            if self._method is None:
                self._method = choose_login(self.transport, self._environ(), self._credential)
                silence(LOGGERS)  # of azure.identity, which were created by its import
            return self._method


class _Credential:
    """The login in the form of a credential of the SDK, for one vault."""

    def __init__(self, login: Login, host: str) -> None:
        self._login, self._host = login, host

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **_: Any
    ) -> Any:
        if len(scopes) != 1 or not may_request(self._host, scopes[0]):
            raise IntegrityError(
                "the vault requests a login for another service", hint="check the reference's host"
            )
        return self._login.token(scopes[0], tenant_id, claims)


shared = one_per_process(Login)
