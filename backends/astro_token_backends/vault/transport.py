"""
One request to Vault: hvac's classes say what is asked, this says how it is sent.

Importing this module loads hvac and requests.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hvac.adapters
import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.transport.network import (
    CA_VARIABLE,
    causes,
    connection_failure,
    seconds_to_wait,
    tls_context,
)
from astro_token.version import __version__
from astro_token_backends.vault.refusals import (
    EXPLAINED,
    LOOK_AT_ADDRESS,
    StatusError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from astro_token_backends.vault.settings import Settings

__all__ = ["OneRequest", "open_session"]

BODY_LIMIT = 256 * 1024
_CONNECT_SECONDS = 3.0
_HINTS: dict[type, str] = {
    AccessDeniedError: "see VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
    BackendDownError: "see VAULT_ADDR, and the DNS here",
    BackendUnavailableError: "try again later, or see that VAULT_ADDR can be reached from here",
}


class OneRequest(hvac.adapters.Adapter):  # type: ignore[misc]
    """
    What hvac sends through: every call is one request, and an answer is a JSON object or an exception.

    hvac's own adapters follow redirects with the token, return whatever is no JSON as it is,
    and raise exceptions that hold the answer and no status.

    Attributes:
        another_token: asked once after a 403 for a token to try again with; None says that there is none.
        denied_again: told that this one was denied the same.

    Raises:
        StatusError: a status of 400 or more.
        AstroTokenError: whatever is no answer of Vault's.
    """

    another_token: Callable[[], str | None] | None = None
    denied_again: Callable[[], None] | None = None

    def __init__(self, *args: Any, timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, timeout=timeout, **kwargs)
        self._until = time.monotonic() + timeout

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,  # noqa: ARG002 (hvac's interface)
        **kwargs: Any,
    ) -> dict[str, Any]:
        try:
            return self._sent(method, url, headers, **kwargs)
        except StatusError as refused:
            if refused.status != HTTPStatus.FORBIDDEN or self.another_token is None:
                raise
            another_token, self.another_token = self.another_token, None
            token = another_token()
            if token is None:
                raise
        self.token = token
        try:
            return self._sent(method, url, headers, **kwargs)
        except StatusError as refused:
            if refused.status == HTTPStatus.FORBIDDEN and self.denied_again is not None:
                self.denied_again()
            raise

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str] | None, **kwargs: Any
    ) -> dict[str, Any]:
        own = {"X-Vault-Request": "true", "X-Vault-Token": self.token, "X-Vault-Namespace": self.namespace}
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise BackendUnavailableError("no time was left to ask Vault", hint="try again later")
        try:
            with self.session.request(
                method,
                self.base_uri + url,
                headers={**(headers or {}), **{name: value for name, value in own.items() if value}},
                json=kwargs.get("json"),
                params=kwargs.get("params"),
                stream=True,
                allow_redirects=False,
                timeout=(min(_CONNECT_SECONDS, seconds), seconds),
            ) as response:
                return _content(response, self._until)
        except (StatusError, AstroTokenError):
            raise
        except Exception as error:  # noqa: BLE001 (requests, urllib3, http.client and ssl each raise their own)
            failure = _failure(error)
        raise failure

    def get_login_token(self, response: dict[str, Any]) -> str:  # noqa: ARG002 (hvac's interface)
        return ""  # `log_in` looks at the answer itself


def open_session(settings: Settings) -> requests.Session:
    """
    A session that takes nothing from its surroundings: no proxy, no `~/.netrc`, no cookies, no redirects.

    Raises:
        ConfigError: a certificate file cannot be used.
    """
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Identity: what is not packed cannot unpack to a gigabyte.
    session.headers.update({"User-Agent": f"astro-token/{__version__}", "Accept-Encoding": "identity"})
    if settings.proxy:
        session.proxies = {"https": settings.proxy}
    tls = trust(settings) if settings.address.startswith("https:") else None
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Mount(tls))
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        # Even with redirects off, requests prepares the next request and reads all of the body for it.
        return None


class _HTTPConnection(urllib3.connection.HTTPConnection):
    debuglevel = 0  # a program may have set it on http.client's class, which then prints every header


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    debuglevel = 0

    def send(self, data: Any) -> None:
        try:
            return super().send(data)
        except (ssl.SSLEOFError, ConnectionResetError):
            pass
        # With TLS 1.3 a server refuses a client's certificate only when the client believes to be connected.
        # Where it has hung up already, its reason is still to be read, and raised by reading.
        self.sock.recv(1)
        raise ConnectionResetError


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Mount(requests.adapters.HTTPAdapter):
    """Sends with our connections and our TLS settings, in place of those that requests would choose."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(  # type: ignore[override]
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls, "cert_reqs": "CERT_REQUIRED"} if self._tls else {}  # type: ignore[return-value]

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leaves the connection alone: requests would add its own roots to ours."""


def trust(settings: Settings) -> ssl.SSLContext:
    context = tls_context({CA_VARIABLE: settings.more_cas or ""})
    with _named("VAULT_CACERT" if settings.ca_file else "VAULT_CAPATH"):
        if settings.ca_file:
            context.load_verify_locations(settings.ca_file)
        elif settings.ca_folder:
            # As Vault's own program does: every file, not only those named by a hash.
            for file in sorted(Path(settings.ca_folder).iterdir()):
                if file.is_file():
                    context.load_verify_locations(file)
        else:
            context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    with _named("VAULT_CLIENT_CERT or VAULT_CLIENT_KEY"):
        if settings.client_certificate:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(settings.client_certificate, settings.client_key, password="")
    return context


@contextmanager
def _named(variables: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        pass
    else:
        return
    raise ConfigError(
        f"{variables} names a file that cannot be read, or that holds no such PEM", hint="see the file"
    )


# -- the answer ---------------------------------------------------------------------------------------


def _content(response: requests.Response, until: float) -> dict[str, Any]:
    status = response.status_code
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise IntegrityError(
            "Vault answered with a redirect, which is never followed",
            hint="if it leads to Vault, as from a standby node to the active one, set VAULT_ADDR to that",
        )
    if status >= HTTPStatus.BAD_REQUEST:
        content = _json(response, until) if status in EXPLAINED else None
        raise StatusError(status, content, seconds_to_wait(response.headers))
    if status == HTTPStatus.NO_CONTENT:
        return {}
    content = _json(response, until)
    if content is None:
        raise IntegrityError("the answer is damaged, or is not Vault's", hint=LOOK_AT_ADDRESS)
    return content


def _json(response: requests.Response, until: float) -> dict[str, Any] | None:
    """The body, or None where it is packed, too large, or anything but a JSON object."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    body = b""
    # In pieces as they come: reading a whole block would wait for as long as somebody drips bytes.
    while piece := response.raw.read1(BODY_LIMIT, decode_content=False):
        body += piece
        if len(body) > BODY_LIMIT:
            return None
        if time.monotonic() > until:
            raise BackendUnavailableError("Vault did not end its answer in time", hint="try again later")
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


# -- no answer ----------------------------------------------------------------------------------------


def _failure(error: Exception) -> AstroTokenError:
    """What an exception of the network means, found in the whole chain of it, without any text of it."""
    # Those of requests are all OSErrors, and say less than what they stand for.
    chain = [cause for cause in causes(error) if not isinstance(cause, requests.RequestException)]
    if any(isinstance(cause, OSError) for cause in chain):
        failure = connection_failure(error, "Vault")
        failure.hint = _HINTS.get(type(failure), failure.hint)
        if CA_VARIABLE in (failure.hint or ""):
            failure.hint = f"name the file of the authority that signed it in VAULT_CACERT or {CA_VARIABLE}"
        return failure
    if any(isinstance(cause, http.client.HTTPException) for cause in chain):
        return IntegrityError("the answer is damaged, or is not Vault's", hint=LOOK_AT_ADDRESS)
    return BackendError(f"the request to Vault failed with {type(chain[-1] if chain else error).__name__}")
