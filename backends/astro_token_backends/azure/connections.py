"""
Requests over http.client, each within one deadline and with an answer of bounded size.

The SDK's own transport reads as much as a server sends, unpacks it, and lets a server that drips hold it
for ever; this one also spares the import of requests.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from astro_token.errors import ConfigError
from astro_token_backends.azure.surroundings import proxy_for, trust

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["BODY_LIMIT", "Connections", "Received"]

BODY_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """An answer. The body is None where it is too large, packed, or shorter than it should be."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)


class Connections:
    """Those that are open; an idle one is used again."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[_Connection]] = {}
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, until: float
    ) -> Received:
        """
        Sends one request once. No redirect is followed.

        Raises:
            ConfigError: the proxy or a file of authorities cannot be used.
            OSError, http.client.HTTPException: there is no answer, or none in time.
        """
        address = urlsplit(url)
        connection = self._take(address, until)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        try:
            connection.wire.until = until
            connection.request(method, target, body, dict(headers))
            with connection.getresponse() as response:
                data = response.read(BODY_LIMIT + 1)
                again = response.isclosed() and not response.will_close
                packed = response.getheader("Content-Encoding", "identity").lower() != "identity"
                good = len(data) <= BODY_LIMIT and not response.length and not packed
                headers_of_it = tuple(response.getheaders())
                received = Received(response.status, response.reason, headers_of_it, data if good else None)
        except BaseException:
            connection.end()
            raise
        if again:
            self._give_back(address, connection)
        else:
            connection.end()
        return received

    def forget(self) -> None:
        """Lets go of all connections without a word: in a forked child they are the parent's."""
        self._idle, self._lock, self._tls = {}, threading.Lock(), None

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
            self._tls = None
        for connections in idle.values():
            for connection in connections:
                connection.end()

    def _take(self, address: SplitResult, until: float) -> _Connection:
        with self._lock:
            idle = self._idle.get((address.scheme, address.netloc), [])
            while idle:
                connection = idle.pop()
                if connection.wire.is_quiet():
                    return connection
                connection.end()
            if address.scheme == "https" and self._tls is None:
                self._tls = trust()
        return _Connection(address, self._tls if address.scheme == "https" else None, until)

    def _give_back(self, address: SplitResult, connection: _Connection) -> None:
        with self._lock:
            self._idle.setdefault((address.scheme, address.netloc), []).append(connection)


class _Connection(http.client.HTTPConnection):
    debuglevel = 0  # a program may have set it on http.client's class, which then prints every header

    def __init__(self, address: SplitResult, tls: ssl.SSLContext | None, until: float) -> None:
        host = address.hostname or ""
        super().__init__(host, address.port or (443 if tls else 80))
        proxy = proxy_for(address) if tls else None
        self.wire = _dial(proxy.host if proxy else host, proxy.port if proxy else self.port, until)
        try:
            if proxy:
                self.wire.tunnel(host, self.port, proxy.authorization)
            if tls:
                self.wire.encrypt(tls, host)
        except BaseException:
            self.wire.end()
            raise
        self.sock = self.wire

    def end(self) -> None:
        self.close()
        self.wire.end()

    def connect(self) -> None:
        """Only where the server hung up after the last answer; such a connection is not used again."""
        raise ConnectionResetError


class _Wire:
    """A socket, as http.client uses one, whose every wait ends at the same moment."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self.until = until

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(left(self.until))
        self._sock.sendall(data)

    def receive(self, buffer: Any) -> int:
        self._sock.settimeout(left(self.until))
        return self._sock.recv_into(buffer)

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self))

    def encrypt(self, tls: ssl.SSLContext, host: str) -> None:
        self._sock.settimeout(left(self.until))
        self._sock = tls.wrap_socket(self._sock, server_hostname=host)

    def tunnel(self, host: str, port: int, authorization: str | None) -> None:
        """
        Raises:
            ConfigError: the proxy refuses.
        """
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        self.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        answer = http.client.HTTPResponse(self, method="CONNECT")  # type: ignore[arg-type]
        answer.debuglevel = 0
        answer.begin()
        if answer.status >= 500:  # noqa: PLR2004
            raise ConnectionRefusedError
        if answer.status != 200:  # noqa: PLR2004
            raise ConfigError("the proxy refuses to connect to Azure", hint="see HTTPS_PROXY and NO_PROXY")

    def is_quiet(self) -> bool:
        """False for a connection that the server has ended, or on which it says what nobody asked."""
        try:
            return not select.select([self._sock], [], [], 0)[0]
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Not yet: with `Connection: close` http.client closes first and reads then."""

    def end(self) -> None:
        self._sock.close()


class _Incoming(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive(buffer)


def left(until: float) -> float:
    """The seconds until then; raises TimeoutError where there are none."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _dial(host: str, port: int, until: float) -> _Wire:
    error: OSError = ConnectionRefusedError()
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(left(until))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Wire(sock, until)
        except OSError as refused:
            error = refused
            if sock is not None:
                sock.close()
    raise error
