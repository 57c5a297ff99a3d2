"""
One request to AWS: botocore says what is asked and signs it, this says how it is sent.

botocore's event `before-send` takes an answer in place of one that it would get itself.
So what it never does is done here: a body has an end, a call has a deadline, an answer is whole,
and the keys of TLS sessions are written to no file.

Importing this module loads botocore and urllib3.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import urllib3
import urllib3.connection
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, ConfigError
from astro_token_backends import network

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["BODY_LIMIT", "MachineSession", "OneRequest", "retry_after"]

BODY_LIMIT = 256 * 1024
_CONNECT_SECONDS = 3.0
_METADATA_SECONDS = 1
_BUSY = frozenset({408, 425, 429})
_DENIED = frozenset({401, 403})  # whoever says so
_EXPLAINED = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(?:ErrorResponse|Error)\b")


class _HTTPConnection(urllib3.connection.HTTPConnection):
    debuglevel = 0  # a program may have set it on http.client's class, which then prints every header


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    debuglevel = 0


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class OneRequest:
    """
    A handler of `before-send`, for all clients of a session, those that log in included.

    It raises AstroTokenErrors for whatever is no answer of AWS's.

    Args:
        trust: makes the TLS settings when they are first needed.
    """

    def __init__(self, trust: Callable[[], ssl.SSLContext]) -> None:
        self._trust = trust
        self._tls: ssl.SSLContext | None = None
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._of_thread = threading.local()

    @contextmanager
    def within(self, until: float, body_limit: int = BODY_LIMIT) -> Iterator[None]:
        """Bounds what this thread sends from here on: by the monotonic clock, and by the answers' size."""
        self._of_thread.until, self._of_thread.body_limit = until, body_limit
        try:
            yield
        finally:
            vars(self._of_thread).clear()

    def seconds(self) -> float:
        """What is left of them; a program's own thread, which was given no bound, has a minute."""
        until: float | None = getattr(self._of_thread, "until", None)
        return 60.0 if until is None else until - time.monotonic()

    def close(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        seconds = self.seconds()
        if seconds <= 0:
            raise BackendUnavailableError("no time was left to ask AWS", hint="try again later")
        network.refuse_clear_text(request.url)
        until = time.monotonic() + seconds
        limit: int = getattr(self._of_thread, "body_limit", BODY_LIMIT)
        failure: AstroTokenError
        try:
            with self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={**_texts(request.headers), "Accept-Encoding": "identity"},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=min(_CONNECT_SECONDS, seconds), read=seconds),
            ) as response:
                body = _body(response, until, limit)
        except AstroTokenError:
            raise
        except Exception as error:  # noqa: BLE001 (urllib3, http.client and ssl each raise their own)
            failure = _failure(error, until)
        else:
            _look_at(response.status, response.headers, body)
            return AWSResponse(request.url, response.status, response.headers, _Read(body))
        raise failure

    def _pool(self, url: str) -> urllib3.PoolManager:
        # What is in clear goes to this machine only, not to a proxy.
        secure = url.startswith("https:")
        proxy: str = get_environ_proxies(url).get("https", "") if secure else ""
        if secure and self._tls is None:
            self._tls = self._trust()
        name = proxy or url.partition(":")[0]
        if name not in self._pools:
            self._pools[name] = _pool(proxy, self._tls if secure else None)
        return self._pools[name]


class MachineSession(URLLib3Session):  # type: ignore[misc]
    """
    For the questions to a machine or a container about its role, which are in clear: no proxy may see them.

    Attributes:
        busy: the last answer was that there is none now.
    """

    def __init__(self) -> None:
        super().__init__(timeout=_METADATA_SECONDS, proxies={})
        self.busy = False

    def send(self, request: Any) -> Any:
        self.busy = False
        response = super().send(request)
        self.busy = response.status_code in _BUSY or response.status_code >= 500  # noqa: PLR2004
        return response


class _Read:
    """What was read already, in the form in which botocore takes it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._body


def _pool(proxy: str, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"ssl_context": tls, "cert_reqs": "CERT_REQUIRED"} if tls else {}
    pool: urllib3.PoolManager
    if proxy:
        address = proxy if "://" in proxy else f"http://{proxy}"
        user = urllib3.util.parse_url(address).auth
        headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
        pool = urllib3.ProxyManager(address, proxy_headers=headers, proxy_ssl_context=tls, **options)
    else:
        pool = urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return pool


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
    }


def _body(response: Any, until: float, limit: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise network.damaged()
    body = b""
    # In pieces as they come: reading a whole block would wait for as long as somebody drips bytes.
    while piece := response.read1(limit, decode_content=False):
        body += piece
        if len(body) > limit:
            raise network.damaged()
        if time.monotonic() > until:
            raise _late()
    return body


def _look_at(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Lets through what botocore can make sense of: an answer, or an error that AWS explains."""
    if status == 200:  # noqa: PLR2004
        # An emulator may call its JSON text; what is none is found out by its lack of fields.
        if not re.search(r"\b(?:json|xml)\b|^text/", headers.get("Content-Type", "")):
            raise network.damaged()
        return
    if status < 300:  # noqa: PLR2004
        raise network.damaged()
    if status < 400:  # noqa: PLR2004
        raise network.redirected()
    if status == 407:  # noqa: PLR2004
        raise _proxy_wants_credentials()
    if _is_explained(headers, body):
        return
    if status in _BUSY or status >= 500:  # noqa: PLR2004
        raise network.busy(retry_after(headers))
    if status not in _DENIED:
        raise network.damaged()
    raise AccessDeniedError(
        "AWS, or what is before it, denies the request and gives no reason",
        hint="see the proxy, the VPC endpoint's policy, and the address",
    )


def _is_explained(headers: Mapping[str, str], body: bytes) -> bool:
    if headers.get("x-amzn-errortype") or _EXPLAINED.match(body):
        return True
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and not content.keys().isdisjoint({"__type", "code", "Code"})


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where it is not said, or is no number."""
    said = headers.get("Retry-After", headers.get("retry-after", ""))
    return float(said) if re.fullmatch(r"\d{1,5}", said, re.ASCII) else None


def _failure(error: Exception, until: float) -> AstroTokenError:
    if time.monotonic() >= until:
        return _late()
    if isinstance(error, urllib3.exceptions.ProxyError) and re.search(
        r"Tunnel connection failed: 407\b", str(error.original_error)
    ):
        return _proxy_wants_credentials()
    for cause in (error, *error.args):
        if isinstance(cause, http.client.HTTPException) and not isinstance(cause, ConnectionError):
            return network.damaged()
    return network.connection_failure(error)


def _late() -> BackendUnavailableError:
    return BackendUnavailableError("AWS did not answer in time", hint="try again later")


def _proxy_wants_credentials() -> ConfigError:
    return ConfigError("the proxy wants a user and a password", hint="see HTTPS_PROXY and NO_PROXY")
