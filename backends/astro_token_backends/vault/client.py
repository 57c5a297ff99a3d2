"""The client that all calls of a process share: connections, the login, and the mounts it has seen."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, BackendUnavailableError
from astro_token.log import logger, silence
from astro_token.transport.client import Client
from astro_token.transport.deadline import Deadline
from astro_token_backends.boundary import call_sdk
from astro_token_backends.login import LoginLock, one_per_process
from astro_token_backends.vault import LOGGERS
from astro_token_backends.vault.errors import StatusError, translated
from astro_token_backends.vault.login import Login, PreparedLogin, prepare_login, token_renewal
from astro_token_backends.vault.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route
    from astro_token_backends.aws.settings import Options

__all__ = ["VaultClient", "VaultService", "namespace_of"]

_CLOSE_SECONDS = 0.8
_CLOSE_PAUSE = 0.05  # at most, between two attempts to revoke
_PREPARED_SECONDS = 60.0  # an identity token is valid for five minutes or more


class _Session:
    """
    Attributes:
        login: the one that requests use.
        made: logins to revoke. There are several if one took so long that another was made meanwhile.
        prepared: a login that was prepared and not yet made, and the time of that.
        until: the deadline of the login's requests.
        trusted: a login whose denials are believed, because a new login was denied the same.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = Client()
        self.login: Login | None = None
        self.made: list[Login] = []
        self.prepared: tuple[PreparedLogin, float] | None = None
        self.until = 0.0
        self.trusted: Login | None = None

    def adapter(self, token: str, until: float, namespace: str | None = None) -> Any:
        from astro_token_backends.vault.adapter import VaultAdapter

        return VaultAdapter(self.client, self.settings, token, namespace, until)

    def with_login(self, login: Login, until: float, namespace: str | None = None) -> Any:
        return self.adapter(login.token.reveal().decode(), until, namespace)

    def confirm_denial(self) -> None:
        self.trusted = self.login


class VaultClient:
    """
    Reads the environment and logs in at its first use.

    Args:
        environ: replaces `os.environ`. `KeyValue(VaultClient({"VAULT_ADDR": …}))` has a login of its own.
        aws: replaces the environment in the login by aws.

    Attributes:
        kv_mounts: the KV version of each mount, by namespace and path.
        transit_mounts: mounts that are transit engines, by namespace and path.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, aws: Options | None = None) -> None:
        self._environ: Callable[[], Mapping[str, str]] = lambda: os.environ if environ is None else environ
        self._aws = aws
        self.kv_mounts: dict[tuple[str | None, str], str] = {}
        self.transit_mounts: set[tuple[str | None, str]] = set()
        self._lock = LoginLock("Vault")
        self._session: _Session | None = None
        # A wrapping token works once; its content serves for later logins too.
        self._unwrapped: dict[str, SecretValue] = {}

    def settings(self) -> Settings:
        """
        Raises:
            ConfigError: as `read_settings`.
        """
        return read_settings(self._environ())

    def credential_source(self, seconds: float) -> str:
        """
        Describe the credential of the next login, with the claims of an identity.

        Raises:
            AstroTokenError: there is none, or the environment is not usable.
        """
        until = time.monotonic() + seconds
        with self._lock.within(seconds):
            session = self._open()
            session.prepared = None
            prepared = self._prepare(session, until)
            return f"{prepared.source}, {prepared.claims}" if prepared.claims else prepared.source

    def adapter(self, namespace: str | None, seconds: float) -> Any:
        """
        A `VaultAdapter` that is logged in. Its requests share one deadline.

        Raises:
            AstroTokenError: the environment, or the login.
        """
        until = time.monotonic() + seconds
        with self._lock.within(seconds):
            session = self._open()
            login = session.login
            if login is None or login.has_ended():
                login = self._log_in(session, until)
        adapter = session.with_login(login, until, namespace)
        if not login.is_ours:
            adapter.renewal = lambda: token_renewal(self._environ())
        if login.is_ours and session.trusted is not login:
            adapter.renew = lambda: self._renew(session, login, until)
            adapter.confirm_denial = session.confirm_denial
        return adapter

    def mount(self, adapter: Any, path: str) -> dict[str, Any]:
        """
        Describe the mount of a path. The request needs no permission but some access to the mount.

        Raises:
            StatusError: Vault refuses, also if there is no such mount.
        """
        mount = adapter.get(f"/v1/sys/internal/ui/mounts/{path}").get("data")
        return mount if isinstance(mount, dict) else {}

    def forget(self) -> None:
        """Drop the login without revoking it: in a forked child it is the parent's."""
        self._session = None
        self._lock.forget()

    def close(self) -> None:
        """Revoke the token if our login created it, and drop everything but an unwrapped secret ID."""
        session, self._session = self._session, None
        self.kv_mounts.clear()
        self.transit_mounts.clear()
        if session is None:
            return
        until = time.monotonic() + _CLOSE_SECONDS
        _revoke(session, until)
        with suppress(BackendUnavailableError), self._lock.within(until - time.monotonic()):
            pass  # a login that another thread was making has been revoked there
        session.client.close()

    def _open(self) -> _Session:
        if self._session is None:
            self._session = _Session(self.settings())
            silence(LOGGERS)
        return self._session

    def _prepare(self, session: _Session, until: float) -> PreparedLogin:
        """Prepare a login, or return the one that an earlier attempt prepared and did not make."""
        session.until = until
        if session.prepared is None or time.monotonic() - session.prepared[1] > _PREPARED_SECONDS:
            prepared = prepare_login(
                self._environ(),
                lambda token: session.adapter(token, session.until),
                self._unwrapped,
                until,
                self._aws,
            )
            session.prepared = prepared, time.monotonic()
        return session.prepared[0]

    def _log_in(self, session: _Session, until: float) -> Login:
        prepared = self._prepare(session, until)
        logger.debug("logging in to Vault at %s with %s", session.settings.url, prepared.source)
        kept, session.prepared = session.prepared, None
        try:
            made = session.login = prepared.log_in()
        except BackendUnavailableError:
            session.prepared = kept  # the next attempt needs no other identity
            raise
        session.made.append(made)
        if self._session is not session:  # closed meanwhile
            _revoke(session, time.monotonic() + _CLOSE_SECONDS)
        return made

    def _renew(self, session: _Session, refused: Login, until: float) -> str | None:
        """The token of a new login if the old one is used up or was revoked."""
        with self._lock.within(until - time.monotonic()):
            login = session.login
            if login is None or login is refused:  # else another thread was first
                if _is_valid(session.with_login(refused, until)):
                    return None
                session.made = [made for made in session.made if made is not refused]
                login = self._log_in(session, until)
        return login.token.reveal().decode()


def _is_valid(adapter: Any) -> bool:
    """
    False if Vault denies `lookup-self`.

    It denies that to a token that has ended, and to a token whose policies do not include `default`.
    """
    try:
        adapter.api("auth_methods.token:Token").lookup_self()
    except StatusError as refused:
        return refused.status != 403  # noqa: PLR2004
    return True


def _revoke(session: _Session, until: float) -> None:
    """Revoke the session's logins. Raise nothing: the command itself has succeeded."""
    deadline = Deadline(until - time.monotonic(), longest_pause=_CLOSE_PAUSE)
    while session.made:
        login = session.made.pop()
        if not login.is_revocable or login.has_ended():
            continue
        try:
            deadline.retry(partial(_revoke_login, session, login), local=True)
        except AstroTokenError as error:
            logger.info("the Vault token was not revoked (%s); it expires by itself", type(error).__name__)


def _revoke_login(session: _Session, login: Login, seconds: float) -> None:
    adapter = session.with_login(login, time.monotonic() + seconds)
    adapter.repeatable = True
    try:
        adapter.api("auth_methods.token:Token").revoke_self()
    except StatusError as refused:
        if refused.status != 403:  # noqa: PLR2004
            raise refused.translated("") from None
        # A request whose response was lost has revoked it, or its policies do not allow that.
        logger.info("the Vault token is revoked already, or may not revoke itself")


_shared = one_per_process(VaultClient)


def namespace_of(ref: SecretRef) -> str | None:
    """The namespace that a reference names; None for that of the login."""
    return ref.options.get("namespace", "").strip("/") or None


class VaultService:
    """
    Base of the engines. One Vault serves all references.

    Args:
        client: replaces the one that the process shares.
    """

    def __init__(self, client: VaultClient | None = None) -> None:
        import astro_token_backends.vault.adapter  # noqa: F401 (a missing SDK is reported here)

        self._client = client or _shared()

    def route(self, ref: SecretRef) -> Route:  # noqa: ARG002 (one Vault serves all)
        return call_sdk(self._client.settings, translated).route

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002
        return call_sdk(lambda: self._client.credential_source(timeout), translated)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:  # noqa: ARG002
        """Log in. A token that is given is tested by reading only."""
        call_sdk(lambda: self._client.adapter(None, timeout), translated)

    def close(self) -> None:
        self._client.close()

    def _adapter(self, ref: SecretRef, seconds: float) -> Any:
        return self._client.adapter(namespace_of(ref), seconds)
