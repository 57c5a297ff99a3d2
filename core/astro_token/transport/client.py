"""Requests over a route: one attempt each, with connections that are used again."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Self

from astro_token.errors import AstroTokenError, BackendUnavailableError, bare, result
from astro_token.transport.failure import (
    connection_failure,
    damaged,
    seconds_to_wait,
    status_failure,
)
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from astro_token.transport.connection import Connection, Message
    from astro_token.transport.route import Route

__all__ = ["BODY_LIMIT", "Client", "Response", "Stream"]

BODY_LIMIT = 256 * 1024
_METADATA_SECONDS = 1.0
_READS = frozenset({"GET", "HEAD", "LIST"})


class Response:
    """
    Attributes:
        headers: of http.client: a mapping that ignores case, and `items()` repeats a name as the server did.
        body: None if it is too large, packed, or shorter than announced.
    """

    __slots__ = ("body", "headers", "reason", "route", "status")

    def __init__(self, route: Route, status: int, reason: str, headers: Any, body: bytes | None) -> None:
        self.route = route
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def failure(self, also_busy: Collection[int] = ()) -> AstroTokenError | None:
        """The failure that it stands for whichever service sent it; None if the service has to judge it."""
        complete = self.body is not None
        return status_failure(
            self.route, self.status, self.headers, is_complete=complete, also_busy=also_busy
        )

    def damaged(self) -> AstroTokenError:
        return damaged(self.route)

    @property
    def retry_after(self) -> float | None:
        return seconds_to_wait(self.headers)

    @property
    def media_type(self) -> str:
        return str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any] | None:
        """The body if it is a JSON object and says so; else None."""
        import json

        if self.body is None or self.media_type != "application/json":
            return None
        try:
            content = json.loads(self.body.decode("utf-8"))  # json itself accepts other encodings too
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def __repr__(self) -> str:
        return f"Response({self.status}, …)"


class Client:
    """
    Sends requests. It follows no redirect, and knows nothing of cookies, `~/.netrc` and compression.

    Used by several threads. A forked child opens its own connections.
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
        limit: int = BODY_LIMIT,
    ) -> Response:
        """
        Send one request and read its response.

        Args:
            target: path and query.
            until: the deadline, by the monotonic clock.
            repeatable: the request changes nothing if it is sent twice: it may use an open connection,
                and is sent again if that turns out to have ended. None means GET, HEAD and LIST.
            limit: the largest body.

        Raises:
            BackendDownError: the host name is unknown.
            BackendUnavailableError: the service cannot be reached, or does not answer in time.
            ConfigError: a CA file, a header, or the proxy refuses.
            IntegrityError: no trusted TLS, or the response is not HTTP.
            AccessDeniedError: the service requires a client certificate.
        """
        with self.stream(
            route, method, target, until=until, headers=headers, body=body, repeatable=repeatable
        ) as stream:
            content = stream.read_all(limit)
            return Response(route, stream.status, stream.reason, stream.headers, content)

    def stream(
        self,
        route: Route,
        method: str,
        target: str,
        *,
        until: float,
        headers: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        repeatable: bool | None = None,
    ) -> Stream:
        """As `send`, for a body that the caller reads. Close it, or use it in a `with` statement."""
        if route.is_metadata:
            until = min(until, time.monotonic() + _METADATA_SECONDS)
        from astro_token.transport.connection import Message

        message = Message(method, target, _with_ours(route, headers or {}), body)
        repeatable = method in _READS if repeatable is None else repeatable
        return result(self._opened(route, message, until, repeatable=repeatable))

    def probe(self, route: Route, until: float, alpn: Sequence[str] = ()) -> str | None:
        """
        Open a connection and close it without a request. Return the protocol that was agreed on by ALPN.

        Raises:
            AstroTokenError: as `send`.
        """
        from astro_token.transport.connection import Connection

        outcome: AstroTokenError
        try:
            connection = Connection(route, until, alpn)
        except Exception as error:  # noqa: BLE001 (classified below)
            outcome = bare(connection_failure(error, route))
        else:
            protocol = connection.wire.alpn_protocol()
            connection.end()
            return protocol
        raise outcome

    def close(self) -> None:
        """Close idle connections. In a forked child this does not end those of the parent."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # It returns its errors: raised, they would carry this frame, where the request is.

    def _opened(
        self, route: Route, message: Message, until: float, *, repeatable: bool
    ) -> Stream | AstroTokenError:
        from astro_token.transport.connection import Connection

        connection = self._take(route) if repeatable else None
        while True:
            is_reused = connection is not None
            try:
                if connection is None:
                    connection = Connection(route, until)
                return Stream(self, route, connection, connection.exchange(message, until))
            except BaseException as error:
                if connection is not None:
                    connection.end()
                if not isinstance(error, Exception):
                    raise
                if not (is_reused and connection and _has_ended(error) and not connection.wire.has_received):
                    return bare(connection_failure(error, route))
                connection = None

    def _take(self, route: Route) -> Connection | None:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()
        # pop and append are atomic, so that no lock is needed, which a fork could leave locked.
        idle = self._idle.get(route.key, [])
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread took it
                break
            if connection.wire.is_quiet():
                return connection
            connection.end()
        return None

    def give_back(self, route: Route, connection: Connection) -> None:
        self._idle.setdefault(route.key, []).append(connection)


class Stream:
    """
    A response whose body is read piece by piece, within the deadline of its request.

    Attributes:
        length: of the body, or None if it is not announced.
        is_bounded: the end of the body can be told from the end of the connection.
    """

    __slots__ = ("_client", "_connection", "_response", "headers", "length", "reason", "route", "status")

    def __init__(self, client: Client, route: Route, connection: Connection, response: Any) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._response = response
        self.route = route
        self.status: int = response.status
        self.reason: str = response.reason
        self.headers = response.headers
        self.length: int | None = response.length
        if _is_ambiguous(response.headers):
            raise damaged(route)

    @property
    def is_bounded(self) -> bool:
        return self._response.chunked or self.length is not None

    @property
    def is_packed(self) -> bool:
        encoding: str = self.headers.get("Content-Encoding", "identity")
        return encoding.strip().lower() not in {"", "identity"}

    def read(self, most: int) -> bytes:
        """
        Up to so many bytes as they come; nothing at the end of the body.

        Raises:
            IntegrityError: the body is packed, or badly framed.
            BackendUnavailableError: it ended early, or did not arrive in time.
        """
        if self.is_packed:
            raise damaged(self.route)
        try:
            block: bytes = self._response.read1(most)
        except Exception as error:  # noqa: BLE001 (classified below)
            # A body that is cut is not a damaged one: long transfers do break, and nothing of it is used.
            early = type(error).__name__ == "IncompleteRead"
            failure = _ended_early(self.route) if early else bare(connection_failure(error, self.route))
        else:
            if block or not self._response.length:
                return block
            failure = _ended_early(self.route)
        self.close()
        raise failure

    def read_all(self, limit: int) -> bytes | None:
        """
        The body; None if it is too large, packed, or shorter than announced.

        Raises:
            AstroTokenError: the connection failed.
        """
        try:
            data: bytes = self._response.read(limit + 1)
        except Exception as error:  # noqa: BLE001 (classified below)
            if type(error).__name__ == "IncompleteRead":
                return None
            failure = bare(connection_failure(error, self.route))
        else:
            whole = len(data) <= limit and not self._response.length and not self.is_packed
            return data if whole else None
        raise failure

    def close(self) -> None:
        """Keep the connection if the body was read to its end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        response = self._response
        is_over = response.isclosed() or response.length == 0
        if is_over and not response.will_close:
            response.close()
            self._client.give_back(self.route, connection)
        else:
            connection.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with_ours(route: Route, headers: Mapping[str, Any]) -> dict[str, Any]:
    # A packed body could unpack to a gigabyte.
    ours = {"host": "Host", "accept-encoding": "Accept-Encoding", "user-agent": "User-Agent"}
    kept = {name: value for name, value in headers.items() if name.lower() not in {"accept-encoding", "host"}}
    values = {
        "Host": route.address.host_header,
        "Accept-Encoding": "identity",
        "User-Agent": f"astro-token/{__version__}",
    }
    given = {name.lower() for name in kept}
    return {**{name: values[name] for key, name in ours.items() if key not in given}, **kept}


def _is_ambiguous(headers: Any) -> bool:
    """True if two servers could disagree about the end of the body."""
    lengths = headers.get_all("Content-Length") or []
    encodings = headers.get_all("Transfer-Encoding") or []
    if encodings:
        return bool(lengths) or len(encodings) > 1 or encodings[0].strip().lower() != "chunked"
    return len(lengths) > 1 or any(not (text.isascii() and text.strip().isdigit()) for text in lengths)


def _has_ended(error: Exception) -> bool:
    """True if the server ended the connection, rather than did not answer."""
    return isinstance(error, ConnectionError) or type(error).__name__ in {"SSLEOFError", "SSLZeroReturnError"}


def _ended_early(route: Route) -> BackendUnavailableError:
    return BackendUnavailableError(f"{route.service} ended the response early", hint="try again later")
