"""The login to Google Cloud that all calls of a process share."""

from __future__ import annotations

import os
import time

from astro_token.errors import AccessDeniedError, AstroTokenError
from astro_token.log import logger
from astro_token.transport.client import Client
from astro_token.transport.deadline import Deadline
from astro_token_backends.boundary import call_sdk
from astro_token_backends.login import LoginLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from astro_token_backends.gcp.credential_chain import Credential
    from astro_token_backends.gcp.login_request import LoginRequest

__all__ = ["Login"]

_LOGGING_IN = "logging in to Google Cloud with %s"


class Login:
    """
    Log in when a token is needed first, and again when it has expired.

    Args:
        credential: of google-auth, in place of the chain's.
        environ: in place of `os.environ`.
    """

    def __init__(self, credential: Any, environ: Mapping[str, str] | None = None) -> None:
        self._injected = credential
        self._environ: Callable[[], Mapping[str, str]] = lambda: os.environ if environ is None else environ
        self._client = Client()
        self._lock = LoginLock("Google Cloud")
        self._credential: Credential | None = None

    def headers(self, seconds: float) -> list[tuple[str, str]]:
        """
        Return the headers that authorize a call.

        gRPC's channel does not add them: it reports a rejected login as a service that is down.
        """
        with self._lock.within(seconds):
            credential, self._credential = self._credential, None
            if credential is None or not credential.value.valid:
                # A program that google-auth starts may outlast its time limit.
                credential = Deadline(seconds).once(lambda left: self._log_in(credential, left))
            self._credential = credential
        headers: dict[str, str] = {}
        credential.value.apply(headers)
        return [(name.lower(), value) for name, value in headers.items()]

    def source(self, seconds: float) -> str:
        """Describe the credential that a login uses."""
        with self._lock.within(seconds):
            if self._credential is None:
                self._credential = Deadline(seconds).once(self._choose)
                if self._credential.value.valid:
                    logger.debug(_LOGGING_IN, self._credential.source)
            return self._credential.source

    def drop(self) -> None:
        """Make the next call log in again."""
        self._credential = None

    def forget(self) -> None:
        """Drop the login in a forked child: it belongs to the parent."""
        self._credential = None
        self._lock.forget()

    def close(self) -> None:
        self._credential = None
        self._client.close()

    def _choose(self, seconds: float) -> Credential:
        from astro_token_backends.gcp import credential_chain as chain

        if self._injected is not None:
            return chain.Credential("the injected credential", self._injected)
        chosen: Credential = self._request(
            lambda request: chain.choose_credential(self._environ(), request), seconds
        )
        return chosen

    def _log_in(self, credential: Credential | None, seconds: float) -> Credential:
        until = time.monotonic() + seconds
        chosen = credential or self._choose(seconds)
        logger.debug(_LOGGING_IN, chosen.source)
        if not chosen.value.valid:
            from astro_token_backends.gcp.credential_chain import renewal_hint
            from astro_token_backends.gcp.login_request import is_of_credential

            try:
                self._request(chosen.value.refresh, until - time.monotonic())
            except AccessDeniedError as error:
                if chosen.is_of_person and is_of_credential(error):
                    error.hint = renewal_hint(self._environ())
                raise
        return chosen

    def _request(self, call: Callable[[LoginRequest], Any], seconds: float) -> Any:
        from astro_token_backends.gcp.login_request import LoginRequest

        request = LoginRequest(self._client, self._environ(), time.monotonic() + seconds)
        return call_sdk(lambda: call(request), lambda error: _failure(error, request, self._environ()))


def _failure(error: Exception, request: LoginRequest, environ: Mapping[str, str]) -> AstroTokenError:
    from astro_token_backends.gcp.credential_chain import CREDENTIAL_FILE, NoIdentityError, no_credential
    from astro_token_backends.gcp.login_request import NoMetadataServerError

    if isinstance(error, NoIdentityError | NoMetadataServerError):
        return no_credential(environ)
    return request.damaged() or AccessDeniedError(
        "the Google Cloud credential cannot be used",
        hint=f"check the file, address or program that the file of {CREDENTIAL_FILE} names",
    )
