"""A connection with one deadline for every wait: name lookup, connect, TLS, proxy and each read."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any

from astro_token.transport.address import is_literal
from astro_token.transport.failure import malformed, proxy_failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from astro_token.transport.route import Route

__all__ = ["Connection"]

_STAGGER = 0.25  # RFC 8305
_INTERIM_RESPONSES = 100
_END_OF_TLS = frozenset({"SSLEOFError", "SSLZeroReturnError"})  # without loading ssl for plain http


class Connection(http.client.HTTPConnection):
    """
    An open connection over a route. It is not opened again when the server ends it.

    Attributes:
        key: of the route when the connection was opened: a CA file can change while it is in use.
        last_used: by the monotonic clock.
    """

    debuglevel = 0  # a program may have set it on http.client's class, which then prints every header

    def __init__(self, route: Route, until: float, alpn: Sequence[str] = ()) -> None:
        address, proxy = route.address, route.proxy
        super().__init__(address.host, address.port)
        self.key = route.key
        self.last_used = 0.0
        self.response_class = _Response
        tls = route.trust.context(alpn) if route.trust else None  # before anything is sent
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        self.wire = _Wire(_dial(_resolve(host, port, until), until), until)
        try:
            if proxy:
                self.wire.tunnel(route, proxy.authorization)
            server_name = address.host.partition("%")[0]
            self.alpn_protocol = self.wire.encrypt(tls, server_name) if tls else None
        except BaseException:
            self.wire.end()
            raise
        self.sock = self.wire

    def exchange(  # noqa: PLR0917
        self, route: Route, method: str, target: str, headers: Any, body: bytes | None, until: float
    ) -> http.client.HTTPResponse:
        """Send a request and read the head of its response."""
        self.wire.until = until
        self.wire.has_received = False
        try:
            self.request(method, target, body, headers)
        except (ValueError, http.client.InvalidURL):  # which repeat the header or the target
            raise malformed(route) from None
        return self.getresponse()

    def connect(self) -> None:
        """Refuse to connect again, which http.client does when the server has ended the connection."""
        raise ConnectionResetError

    def ended_early(self, error: Exception) -> bool:
        """True if the server ended the connection before the first byte of the response."""
        return _is_end(error) and not self.wire.has_received

    def end(self) -> None:
        self.close()
        self.wire.end()


class _Response(http.client.HTTPResponse):
    def _read_status(self) -> tuple[str, int, str]:
        # http.client itself skips 100 only.
        for _ in range(_INTERIM_RESPONSES):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:  # noqa: PLR2004
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")

    def _read_next_chunk_size(self) -> int:
        # http.client accepts -1, and then reads without a limit.
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise ValueError("a negative size of a chunk")
        return size


class _Wire(io.RawIOBase):
    """A socket with the methods that http.client calls."""

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
        except OSError as error:
            # A server that ends the connection early may have sent its reason, such as a TLS alert about
            # the client's certificate, or a response: it is read next, and the end reported by reading.
            if not _is_end(error):
                raise

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self.until))
        count = self._sock.recv_into(buffer)
        self.has_received |= count > 0
        return count

    def encrypt(self, tls: ssl.SSLContext, host: str) -> str | None:
        """Make the handshake, and return the protocol that was agreed on by ALPN."""
        self._sock.settimeout(_left(self.until))
        # Without the option Python takes a connection that breaks off for the end of the response.
        self._sock = sock = tls.wrap_socket(self._sock, server_hostname=host, suppress_ragged_eofs=False)
        return sock.selected_alpn_protocol()

    def tunnel(self, route: Route, authorization: str | None) -> None:
        authority = route.address.authority
        login = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        self.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode("ascii"))
        response = _Response(self, method="CONNECT")  # type: ignore[arg-type]
        response.debuglevel = 0
        response.begin()
        if response.status != 200:  # noqa: PLR2004
            raise proxy_failure(response.status, route)

    def is_quiet(self) -> bool:
        """False if the server has ended the connection, or has sent something without a request."""
        pending = getattr(self._sock, "pending", None)
        try:
            self._sock.settimeout(0)
            if not (pending and pending()):
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


def _is_end(error: Exception) -> bool:
    return isinstance(error, ConnectionError) or type(error).__name__ in _END_OF_TLS


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
    import _thread

    outcome: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        try:
            outcome.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:  # a label that is too long
            outcome.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))
        except OSError as error:
            outcome.append(error.with_traceback(None))
        finally:
            done.release()

    try:
        if host == "localhost" or is_literal(host):
            look_up()
        else:
            _thread.start_new_thread(look_up, ())
    except RuntimeError:  # no thread can be started: better without a bound than not at all
        look_up()
    if not done.acquire(timeout=_left(until)):
        raise TimeoutError
    if outcome and isinstance(outcome[0], OSError):
        raise outcome[0]
    return _interleaved(outcome)


def _interleaved(addresses: list[Any]) -> list[Any]:
    """Alternate between IPv6 and IPv4, so that one family that is broken delays no more than one attempt."""
    from itertools import zip_longest

    families: tuple[list[Any], list[Any]] = ([], [])
    for address in addresses:
        families[address[0] != addresses[0][0]].append(address)
    return [address for pair in zip_longest(*families) for address in pair if address]


def _dial(addresses: list[Any], until: float) -> socket.socket:
    """Connect to the first address that answers. The next one is tried after a failure, or 250 ms."""
    import selectors

    failure = OSError()
    with selectors.DefaultSelector() as selector:
        try:
            while addresses or selector.get_map():
                if addresses:
                    try:
                        selector.register(_connecting(*addresses.pop(0)), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error.with_traceback(None)
                        continue
                seconds = _left(until)
                for key, _ in selector.select(min(seconds, _STAGGER) if addresses else seconds):
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


def _connecting(family: int, kind: int, protocol: int, _: str, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock
