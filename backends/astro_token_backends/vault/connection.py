"""What all calls of a process share: the session, the login, and which mount is of which version."""

from __future__ import annotations

import os
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, BackendError
from astro_token.log import logger, silence
from astro_token_backends.login import LoginLock, one_per_process
from astro_token_backends.vault import LOGGERS
from astro_token_backends.vault.login import Found, Login, find
from astro_token_backends.vault.refusals import StatusError
from astro_token_backends.vault.settings import Settings, read_settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from astro_token.secret import SecretValue

__all__ = ["Connection", "shared", "translated"]

_CLOSE_SECONDS = 0.8
_JUST_NOW = 1.0  # seconds


class _Open:
    """
    Attributes:
        login: the one in use.
        kept: what was found and not yet used, and the end of the time that it was found in.
        believed: one whose denials are no sign that it is over: a login anew was denied the same.
    """

    def __init__(self, settings: Settings, session: Any) -> None:
        self.settings = settings
        self.session = session
        self.login: Login | None = None
        self.kept: tuple[Found, float] | None = None
        self.believed: Login | None = None


class Connection:
    """
    Reads the environment and logs in when it is first used.

    Args:
        environ: in place of `os.environ`: a test that wants a login of its own
            makes `KeyValue(Connection({"VAULT_ADDR": …}))`.

    Attributes:
        mounts: the KV version of each mount that was asked about, by namespace and path.
        transits: the mounts that are known to be transit engines.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ: Callable[[], Mapping[str, str]] = lambda: os.environ if environ is None else environ
        self.mounts: dict[tuple[str | None, str], str] = {}
        self.transits: set[tuple[str | None, str]] = set()
        self._lock = LoginLock("Vault")
        self._open: _Open | None = None
        # A wrapping token works once; what was in it serves for later logins too.
        self._unwrapped: dict[str, SecretValue] = {}

    def address(self) -> str:
        """
        Raises:
            ConfigError: there is none, or it is refused.
        """
        return read_settings(self._environ()).address

    def trust(self) -> ssl.SSLContext:
        """
        Raises:
            ConfigError: a file of authorities, or of the client's certificate, cannot be used.
        """
        from astro_token_backends.vault.transport import trust

        return trust(read_settings(self._environ()))

    def credential_source(self, seconds: float) -> str:
        """
        What a login would take, in words.

        Raises:
            AstroTokenError: there is nothing, or the environment is not usable.
        """
        until = time.monotonic() + seconds
        with self._lock.within(seconds):
            opened = self._opened()
            found = self._found(opened, until)
            opened.kept = found, until
            return found.source

    def client(self, namespace: str | None, seconds: float) -> Any:
        """
        An `hvac.Client` that is logged in, for requests that together take no longer than that.

        Raises:
            AstroTokenError: the environment, or the login.
        """
        until = time.monotonic() + seconds
        with self._lock.within(seconds):
            opened = self._opened()
            login = opened.login
            if login is None or login.is_over():
                login = self._log_in(opened, until)
        client = _client(opened, login.token.reveal().decode(), namespace, until)
        if login.made and opened.believed is not login:
            client.adapter.another_token = lambda: self._another_token(opened, login, until)
            client.adapter.denied_again = lambda: _believe(opened)
        return client

    def forget(self) -> None:
        """Lets go of the login without revoking it: in a forked child it is the parent's."""
        self._open = None
        self._lock.forget()

    def close(self) -> None:
        """Revokes the token if our login made it, and forgets everything but an unwrapped secret id."""
        opened, self._open = self._open, None
        self.mounts.clear()
        self.transits.clear()
        if opened is None:
            return
        login = opened.login
        if login is not None and login.revocable and not login.is_over():
            thread = threading.Thread(target=_revoke, args=(opened, login), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # newer Pythons start no thread when they end
                _revoke(opened, login)
            else:
                thread.join(_CLOSE_SECONDS)
        opened.session.close()

    def _found(self, opened: _Open, until: float) -> Found:
        return find(
            self._environ(), lambda token: _client(opened, token, None, until), self._unwrapped, until
        )

    def _log_in(self, opened: _Open, until: float) -> Login:
        kept, opened.kept = opened.kept, None
        # Its requests end when they would have then: that must not be later than now, nor much sooner.
        if kept is not None and 0 <= until - kept[1] < _JUST_NOW:
            found = kept[0]
        else:
            found = self._found(opened, until)
        logger.debug("logging in to Vault at %s with %s", opened.settings.address, found.source)
        opened.login = found.log_in()
        return opened.login

    def _another_token(self, opened: _Open, refused: Login, until: float) -> str | None:
        """A token of a new login, where that of the one before is used up or was revoked meanwhile."""
        with self._lock.within(until - time.monotonic()):
            login = opened.login
            if login is None or login is refused:  # else another thread was here before
                if _lives(_client(opened, refused.token.reveal().decode(), None, until)):
                    return None
                login = self._log_in(opened, until)
        return login.token.reveal().decode()

    def _opened(self) -> _Open:
        if self._open is None:
            from astro_token_backends.vault.transport import open_session

            settings = read_settings(self._environ())
            self._open = _Open(settings, open_session(settings))
            silence(LOGGERS)
        return self._open


def _client(opened: _Open, token: str, namespace: str | None, until: float) -> Any:
    import hvac

    from astro_token_backends.vault.transport import OneRequest

    # An empty token and true values keep hvac from looking for its own in the environment.
    return hvac.Client(
        url=opened.settings.address,
        token=token,
        cert=(opened.settings.client_certificate, opened.settings.client_key),
        verify=True,
        timeout=until - time.monotonic(),
        session=opened.session,
        namespace=namespace or opened.settings.namespace,
        adapter=OneRequest,
    )


def _believe(opened: _Open) -> None:
    opened.believed = opened.login


def _lives(client: Any) -> bool:
    """
    False where Vault does not know the token any more, which it denies like anything else.

    Also where no policy of the token's lets it look itself up, as `default` would.
    """
    try:
        client.auth.token.lookup_self()
    except StatusError as refused:
        return refused.status != HTTPStatus.FORBIDDEN
    return True


def _revoke(opened: _Open, login: Login) -> None:
    until = time.monotonic() + _CLOSE_SECONDS
    try:
        _client(opened, login.token.reveal().decode(), None, until).auth.token.revoke_self()
    except Exception as error:  # noqa: BLE001 (what was wanted is done)
        logger.info("the login at Vault could not be revoked (%s); it ends by itself", type(error).__name__)


# For `KeyValue` and `Transit` alike.
shared = one_per_process(Connection)


def translated(unknown: Exception) -> AstroTokenError:
    """What is wrong with an exception that `OneRequest` should have translated."""
    return BackendError(
        f"Vault's backend failed with {type(unknown).__name__}", hint="report it with the version of hvac"
    )
