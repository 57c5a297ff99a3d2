"""Requests over a route: one attempt each, with connections that are used again."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from astro_token.errors import (
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    result,
    sanitized,
)
from astro_token.transport.failure import (
    busy,
    connection_failure,
    damaged,
    proxy_failure,
    redirected,
    seconds_to_wait,
)
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from astro_token.transport.connection import Connection
    from astro_token.transport.route import Route

__all__ = ["BODY_LIMIT", "Client", "Response"]

BODY_LIMIT = 2 * 1024 * 1024  # more than Vault's largest secret, so that the secret itself can be judged
_METADATA_SECONDS = 1.0
_IDLE_SECONDS = 60.0  # load balancers drop a connection after a few minutes, some without closing it
_MOST_IDLE = 16
_READS = frozenset({"GET", "HEAD", "LIST"})
_BUSY = frozenset({408, 425, 429})
_DENIED = frozenset({401, 403})


class Client:
    """
    Sends requests. It follows no redirect, and ignores cookies, `~/.netrc` and compression.

    Threads can share it. A forked child opens its own connections.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._idle: dict[tuple[object, ...], list[Connection]] = {}

    def send(
        self,
        route: Route,
        method: str,
        target: str,
        *,
        until: float,
        headers: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        repeatable: bool | None = None,
        limit: int | None = BODY_LIMIT,
    ) -> Response:
        """
        Send one request and read its response, whatever its status.

        Args:
            target: path and query.
            until: the deadline, by the monotonic clock.
            repeatable: the request may be sent twice. It then uses an open connection, and is sent again
                if the server had already ended that connection. None means: for GET, HEAD and LIST.
            limit: the largest size of the body; with None, the caller reads the body and closes the response.

        Raises:
            AstroTokenError: as `connection_failure`; ConfigError for a header, a CA file or the proxy.
        """
        if route.is_metadata:
            until = min(until, time.monotonic() + _METADATA_SECONDS)
        request = (method, target, _with_ours(route, headers or {}), body, until)
        is_read = method in _READS if repeatable is None else repeatable
        response = result(self._exchange(route, request, self._take(route) if is_read else None))
        if limit is not None:
            with response:
                response.load(limit)
        return response

    def probe(self, route: Route, until: float, alpn: Sequence[str] = ()) -> str | None:
        """Open and close a connection, without a request. Return the protocol that ALPN selected."""
        from astro_token.transport.connection import Connection

        try:
            connection = Connection(route, until, alpn)
            connection.end()
            return connection.alpn_protocol
        except Exception as error:  # noqa: BLE001 (classified)
            failure = sanitized(connection_failure(error, route))
        raise failure

    def accepts(self, route: Route, until: float) -> bool:
        """
        True if the address of a cloud's metadata service accepts a connection.

        Else this machine is not of that cloud. A service that accepts one and does not answer has failed.
        """
        try:
            self.probe(route, min(until, time.monotonic() + _METADATA_SECONDS))
        except (BackendDownError, BackendUnavailableError):
            return False
        return True

    def close(self) -> None:
        """Close idle connections. In a forked child, the connections of the parent stay open."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # It returns errors instead of raising them: a traceback would lead to the request in this frame.

    def _exchange(
        self, route: Route, request: Any, connection: Connection | None
    ) -> Response | AstroTokenError:
        from astro_token.transport.connection import Connection

        is_reused = connection is not None
        try:
            connection = connection or Connection(route, until=request[-1])
            head = connection.exchange(route, *request)
            if _is_ambiguous(head.headers):
                raise damaged(route)
            return Response(self, route, connection, head)
        except BaseException as error:
            if connection is not None:
                connection.end()
            if not isinstance(error, Exception):
                raise
            if not is_reused or connection is None or not connection.ended_early(error):
                return sanitized(connection_failure(error, route))
        return self._exchange(route, request, None)

    def _take(self, route: Route) -> Connection | None:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()
        # pop and append are atomic: no lock is needed, which a fork could leave locked.
        idle = self._idle.get(route.key, [])
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread took it
                break
            if time.monotonic() - connection.last_used < _IDLE_SECONDS and connection.wire.is_quiet():
                return connection
            connection.end()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        connection.last_used = time.monotonic()
        idle = self._idle.setdefault(connection.key, [])
        idle.append(connection)
        if len(idle) > _MOST_IDLE:  # each request that must not be repeated has opened a connection
            with suppress(IndexError):
                idle.pop(0).end()


class Response:
    """
    Attributes:
        headers: a mapping of http.client that ignores case. `items()` lists a repeated header each time.
        length: the announced length of the body, or None.
        body: the loaded bytes; None if the body is too large, compressed, or shorter than announced.
    """

    def __init__(self, client: Client, route: Route, connection: Connection, response: Any) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._response = response
        self.route = route
        self.status: int = response.status
        self.headers = response.headers
        self.length: int | None = response.length
        self.body: bytes | None = None

    def failure(self, also_busy: Collection[int] = ()) -> AstroTokenError | None:
        """Return the failure if the status means the same for every service; else None."""
        route, status = self.route, self.status
        if status in _BUSY or status >= 500 or status in also_busy:  # noqa: PLR2004
            return busy(route, status, self.retry_after)
        if 300 <= status < 400:  # noqa: PLR2004
            return redirected(route)
        if status == 407:  # noqa: PLR2004
            return proxy_failure(status, route)
        return None if self.body is not None or status in _DENIED else self.damaged()

    def damaged(self) -> AstroTokenError:
        return damaged(self.route)

    @property
    def retry_after(self) -> float | None:
        return seconds_to_wait(self.headers)

    @property
    def media_type(self) -> str:
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any] | None:
        """The body, if it is a JSON object and its media type is JSON; else None."""
        import json

        if self.body is None or self.media_type != "application/json":
            return None
        try:
            content = json.loads(self.body.decode("utf-8"))  # json itself accepts other encodings too
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    @property
    def is_bounded(self) -> bool:
        """True if the body has a length or chunks, so that a truncated body can be detected."""
        return self.length is not None or bool(self._response.chunked)

    def read(self, most: int, until: float | None = None, *, allow_compressed: bool = False) -> bytes:
        """
        Read some bytes of the body. They are empty at its end.

        Args:
            most: the largest number of bytes.
            until: a new deadline; None for the request's.
            allow_compressed: accept a compressed body; the bytes are returned as they are.
        """
        if self._is_compressed() and not allow_compressed:
            raise self.damaged()
        if until is not None and self._connection is not None:
            self._connection.wire.until = until
        block = result(self._block(self._response.read1, most))
        if block is None or (not block and self._response.length):
            # Long transfers can break. A part of a body is never used, so a retry is safe.
            raise BackendUnavailableError(
                f"{self.route.service} ended the response early", hint="try again later"
            )
        return block

    def load(self, limit: int) -> None:
        """Read the whole body into `body`."""
        data = result(self._block(self._response.read, limit + 1))
        is_complete = data is not None and len(data) <= limit and not self._response.length
        self.body = data if is_complete and not self._is_compressed() else None

    def _is_compressed(self) -> bool:
        return self.headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}

    def _block(self, read: Callable[[int], bytes], most: int) -> bytes | AstroTokenError | None:
        """Bytes of the body; None if it ended within a chunk."""
        try:
            return read(most)
        except Exception as error:  # noqa: BLE001 (classified)
            is_cut = type(error).__name__ == "IncompleteRead"
            return None if is_cut else sanitized(connection_failure(error, self.route))

    def close(self) -> None:
        """Keep the connection if the body was read to its end."""
        connection, self._connection = self._connection, None
        response = self._response
        if connection is None:
            return
        if (response.isclosed() or response.length == 0) and not response.will_close:
            response.close()
            self._client.give_back(connection)
        else:
            connection.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with_ours(route: Route, headers: Mapping[str, Any]) -> dict[str, Any]:
    # A compressed body could expand to a gigabyte.
    ours = {"Host": route.address.host_header, "Accept-Encoding": "identity"}
    theirs = {
        name: value for name, value in headers.items() if name.lower() not in {"accept-encoding", "host"}
    }
    if not any(name.lower() == "user-agent" for name in theirs):
        ours["User-Agent"] = f"astro-token/{__version__}"
    return {**ours, **theirs}


def _is_ambiguous(headers: Any) -> bool:
    """True if two servers could disagree about the end of the body."""
    lengths = headers.get_all("Content-Length") or []
    encodings = headers.get_all("Transfer-Encoding") or []
    if encodings:
        return bool(lengths) or len(encodings) > 1 or encodings[0].strip().lower() != "chunked"
    return len(lengths) > 1 or any(not (text.isascii() and text.strip().isdigit()) for text in lengths)
