"""
A connection whose every wait shares one deadline: name lookup, connect, TLS, proxy and each read.

Importing this module loads http.client.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any

from astro_token.transport.address import is_loopback
from astro_token.transport.failure import malformed, proxy_failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from astro_token.transport.route import Route

__all__ = ["Connection"]

_STAGGER = 0.25  # RFC 8305
_INTERIM_RESPONSES = 100


class Connection(http.client.HTTPConnection):
    """
    An open connection over a route. It is not opened again when the server ends it.

    Raises:
        OSError: it cannot be opened until then.
        AstroTokenError: a CA file cannot be used, or the proxy refuses.
    """

    debuglevel = 0  # a program may have set it on http.client's class, which then prints every header

    def __init__(self, route: Route, until: float, alpn: Sequence[str] = ()) -> None:
        address, proxy = route.address, route.proxy
        super().__init__(address.host, address.port)
        self.route = route
        self.response_class = _Response
        tls = route.trust.context(alpn) if route.trust else None  # before anything is sent
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        self.wire = _Wire(_dial(_resolve(host, port, until), until), until)
        try:
            if proxy:
                self.wire.tunnel(route, proxy.authorization)
            if tls:
                self.wire.encrypt(tls, address.host.partition("%")[0])
        except BaseException:
            self.wire.end()
            raise
        self.sock = self.wire

    def exchange(
        self, method: str, target: str, headers: Mapping[str, Any], body: bytes | None, until: float
    ) -> http.client.HTTPResponse:
        """
        Send a request and read the head of its response.

        Raises:
            ConfigError: a header or the target is malformed. Nothing was sent.
            OSError, http.client.HTTPException: there is no response, or none until then.
        """
        self.wire.until = until
        self.wire.has_received = False
        try:
            self.request(method, target, body, headers)
        except (ValueError, http.client.InvalidURL):  # which repeat the header or the target
            failure = malformed(self.route)
        else:
            return self.getresponse()
        raise failure

    def connect(self) -> None:
        """Refuse to connect again, which http.client does when the server has ended the connection."""
        raise ConnectionResetError

    def end(self) -> None:
        self.close()
        self.wire.end()


class _Response(http.client.HTTPResponse):
    def _read_status(self) -> tuple[str, int, str]:
        # http.client itself passes over 100 only.
        for _ in range(_INTERIM_RESPONSES):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:  # noqa: PLR2004
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")


class _Wire:
    """A socket in the form in which http.client uses one."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self.until = until
        self.has_received = False

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                self._sock.settimeout(_left(self.until))
                view = view[self._sock.send(view) :]
            return
        except (BrokenPipeError, ConnectionResetError):
            pass
        except OSError as error:
            if type(error).__name__ != "SSLEOFError":  # without loading ssl for plain http
                raise
        # With TLS 1.3 a server refuses a client's certificate when the client believes to be connected.
        # If it has ended the connection already, its reason is still to be read, and raised by reading.
        self._sock.settimeout(_left(self.until))
        self._sock.recv(1)
        raise ConnectionResetError

    def receive(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self.until))
        count = self._sock.recv_into(buffer)
        self.has_received |= count > 0
        return count

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self))

    def encrypt(self, tls: ssl.SSLContext, host: str) -> None:
        self._sock.settimeout(_left(self.until))
        # Without the option Python takes a connection that breaks off for the end of the response.
        self._sock = tls.wrap_socket(self._sock, server_hostname=host, suppress_ragged_eofs=False)

    def tunnel(self, route: Route, authorization: str | None) -> None:
        authority = route.address.authority
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        self.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        response = _Response(self, method="CONNECT")  # type: ignore[arg-type]
        response.debuglevel = 0
        response.begin()
        if response.status != 200:  # noqa: PLR2004
            raise proxy_failure(response.status, route)

    def alpn_protocol(self) -> str | None:
        agreed = getattr(self._sock, "selected_alpn_protocol", None)
        return agreed() if agreed else None

    def is_quiet(self) -> bool:
        """False if the server has ended the connection, or has sent something without a request."""
        try:
            self._sock.settimeout(0)
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)  # below TLS, which has no such flag
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def close(self) -> None:
        """Leave it open: with `Connection: close` http.client closes before it reads."""

    def end(self) -> None:
        self._sock.close()


class _Incoming(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive(buffer)


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


# -- from a name to a connected socket ----------------------------------------------------------------


def _resolve(host: str, port: int, until: float) -> list[Any]:
    """
    The addresses of a host, in the order in which they are tried.

    getaddrinfo has no timeout, so it runs in a thread, which is left behind if it does not return.
    A literal address and localhost need no name server, and so no thread.
    """
    if is_loopback(host) or ":" in host or host[-1:].isdigit():
        return _interleaved(_lookup(host, port))
    import _thread

    outcome: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        outcome.append(_lookup(host, port))
        done.release()

    try:
        _thread.start_new_thread(look_up, ())
    except RuntimeError:  # no thread can be started: better without a bound than not at all
        look_up()
    if not done.acquire(timeout=_left(until)):
        raise TimeoutError
    return _interleaved(outcome[0])


def _lookup(host: str, port: int) -> list[Any] | OSError:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is too long
        return socket.gaierror(socket.EAI_NONAME, "not a host name")
    except OSError as error:
        return error.with_traceback(None)


def _interleaved(addresses: list[Any] | OSError) -> list[Any]:
    """Alternate between IPv6 and IPv4, so that one family that is broken delays no more than one attempt."""
    if isinstance(addresses, OSError):
        raise addresses
    from itertools import zip_longest

    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for pair in zip_longest(first, second) for address in pair if address]


def _dial(addresses: list[Any], until: float) -> socket.socket:
    """Connect to the first address that answers. The next one is tried after a failure, or 250 ms."""
    import selectors

    waiting, failure = list(addresses), OSError()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    outcome = _begun(waiting.pop(0))
                    if isinstance(outcome, OSError):
                        failure = outcome
                        continue
                    selector.register(outcome, selectors.EVENT_WRITE)
                seconds = min(_left(until), _STAGGER) if waiting else _left(until)
                for key, _ in selector.select(seconds):
                    sock: Any = key.fileobj
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return sock  # type: ignore[no-any-return]
                    sock.close()
                    failure = OSError(code, "")
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    raise failure


def _begun(address: Any) -> socket.socket | OSError:
    family, kind, protocol, _, sockaddr = address
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:  # no IPv6 here, or no descriptor left
        return error
    try:
        sock.setblocking(False)
        sock.connect(sockaddr)
    except BlockingIOError:
        pass
    except OSError as error:
        sock.close()
        return error
    return sock
