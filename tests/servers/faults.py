"""
Servers that misbehave on purpose, on raw sockets:
no HTTP framework can reset a connection in the middle of a header.

`FaultServer` answers every request in one *mode*, counts the requests and keeps what it was sent,
so that a test can say three things about a client: how many attempts it made, how long it took,
and whether a credential reached a place where it must not go.
A mode is a status code, an `Answer`, a function of the request's number (from 1) that returns a mode,
or one of these:

    reset, reset-head, reset-body   connection reset before the answer, inside its header, inside its body
    close                           clean close before the answer
    short-body                      close before Content-Length is reached; over TLS without its own end
    short-body-ended                the same, and over TLS with its own end: nobody cut it on the way
    cut-json                        a whole answer whose JSON lacks its end
    empty, html, not-json           a 200 with no body, with a captive portal's page, with plain text
    wrong-charset, wrong-type       a body in UTF-16 that says UTF-8; the right body, said to be an image
    json-array, json-null, json-int, json-nested
    huge                            a JSON string of `size` bytes, streamed
    gzip-bomb                       Content-Encoding: gzip that inflates to `size` bytes
    drip-head, drip-body            a byte every `drip` seconds: defeats timeouts of each read
    hang                            no answer, until `close` or `hold` seconds
    pass                            the answer of `upstream`
    lose-answer                     `upstream` gets the request and does it; the answer is lost in a reset
    handshake-eof, handshake-reset, handshake-hang, handshake-plain
                                    in place of a TLS handshake; not by a function, there is no request yet

Over TLS a reset may look like an end of file to the client: look at the outcome, not at errno.
For certificates that must be refused, pass `tls=certificates.expired.context()` and the like.

Beside it: `refused_port`, `BlackHole`, `ConnectProxy`, `Egress`.
"""

from __future__ import annotations

import contextlib
import functools
import selectors
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from tests.servers.http1 import Answer, HttpServer, Misbehaviour, Reply, Request, traces
from tests.servers.listener import Listener
from tests.servers.wire import forward

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = str | int | Answer | Callable[[int], "Mode"]

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_LENGTH = b"Content-Length: %d\r\n\r\n"
_PORTAL = b"<!doctype html><html><body><form action='/login'>Welcome to the hotel</form></body></html>"
_NESTED = 100_000
_BLOCK = b"A" * (1 << 20)
_GOODBYE = 0.5  # seconds that a client has to end TLS too
_PATIENCE = 1.0  # seconds that an egress waits for more


class FaultServer(HttpServer):
    """
    Args:
        mode: see the module.
        body: of whole answers, and of those that are cut.
        headers: added to answers given by their status code, `Retry-After` for instance.
        redirect: the Location of a 3xx; a path for the same host.
        tls: speaks TLS with this certificate.
        upstream: the address of a plain HTTP server, for `pass` and `lose-answer`.
        hold: seconds for which `hang` hangs.
        drip: seconds between two bytes of a drip.
        size: of the huge answers.

    Attributes:
        requests: what was sent; each has its time.
        sent: how many bytes of a huge answer went out before the client had enough.
        lost: the answers of `upstream` that `lose-answer` lost.
    """

    def __init__(
        self,
        mode: Mode,
        body: bytes = b"{}",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        redirect: str | None = None,
        tls: ssl.SSLContext | None = None,
        upstream: str | None = None,
        hold: float = 60.0,
        drip: float = 0.5,
        size: int = 1 << 30,
    ) -> None:
        self.mode = mode
        self.body = body
        self.headers = dict(headers or {})
        self.content_type = content_type
        self.redirect = redirect
        self.upstream = upstream
        self.hold = hold
        self.drip = drip
        self.size = size
        self.sent = 0
        self.lost: list[bytes] = []
        self._in_handshake = isinstance(mode, str) and mode.startswith("handshake-")
        self._misbehaviours: dict[str, Misbehaviour] = {
            "reset": reset,
            "reset-head": self._reset_head,
            "reset-body": self._reset_body,
            "close": lambda *_: False,
            "short-body": self._short_body,
            "short-body-ended": self._short_body_ended,
            "huge": self._huge,
            "gzip-bomb": self._gzip_bomb,
            "drip-head": self._drip_head,
            "drip-body": self._drip_body,
            "hang": self._hang,
            "pass": self._pass,
            "lose-answer": self._lose_answer,
        }
        if isinstance(mode, str) and mode not in self.modes():
            raise ValueError(f"no such mode: {mode}")
        if isinstance(mode, str) and mode in {"pass", "lose-answer"} and upstream is None:
            raise ValueError("there is nothing to pass a request to")
        if mode == "gzip-bomb":
            _bomb(size)  # made now, as it takes longer than a client has
        super().__init__(self._answer, tls=None if self._in_handshake else tls)
        if self._in_handshake:
            self.url = f"https://127.0.0.1:{self.port}"

    def modes(self) -> list[str]:
        return [*self._misbehaviours, *_answers(b""), *_HANDSHAKES]

    def _converse(self, connection: socket.socket) -> None:
        if self._in_handshake and isinstance(self.mode, str):
            connection.recv(65536)
            _HANDSHAKES[self.mode](connection, self)
        else:
            super()._converse(connection)

    def _answer(self, _: Request) -> Reply:
        mode = self.mode
        while callable(mode):
            mode = mode(self.count)
        if isinstance(mode, str) and mode in self._misbehaviours:
            return self._misbehaviours[mode]
        if isinstance(mode, str):
            mode = _answers(self.body)[mode]
        if isinstance(mode, int):
            headers = dict(self.headers)
            if self.redirect and 300 <= mode < 400:
                headers["Location"] = self.redirect
            return Answer(mode, self.body, headers, self.content_type)
        return mode

    def _reset_head(self, connection: socket.socket, request: Request) -> bool:
        connection.sendall(_OK[:20])
        time.sleep(0.05)  # let the bytes arrive before the reset overtakes them
        return reset(connection, request)

    def _reset_body(self, connection: socket.socket, request: Request) -> bool:
        connection.sendall(_OK + _LENGTH % 5000 + self.body[: len(self.body) // 2])
        time.sleep(0.05)
        return reset(connection, request)

    def _short_body(self, connection: socket.socket, _: Request) -> bool:
        connection.sendall(_OK + _LENGTH % (len(self.body) + 5) + self.body)
        return False

    def _short_body_ended(self, connection: socket.socket, request: Request) -> bool:
        self._short_body(connection, request)
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(_GOODBYE)
            connection.unwrap()
        return False

    def _huge(self, connection: socket.socket, _: Request) -> bool:
        connection.sendall(_OK + _LENGTH % (self.size + 2) + b'"')
        left = self.size
        while left > 0 and not self.stopping.is_set():
            connection.sendall(_BLOCK[:left])
            self.sent += len(_BLOCK[:left])
            left -= len(_BLOCK)
        connection.sendall(b'"')
        return True

    def _gzip_bomb(self, connection: socket.socket, _: Request) -> bool:
        packed = _bomb(self.size)
        connection.sendall(_OK + b"Content-Encoding: gzip\r\n" + _LENGTH % len(packed) + packed)
        return True

    def _drip_head(self, connection: socket.socket, _: Request) -> bool:
        connection.sendall(_OK)
        return self._dripping(connection, b"X-Slow: " + b"a" * 10_000)

    def _drip_body(self, connection: socket.socket, _: Request) -> bool:
        connection.sendall(_OK + _LENGTH % 100_000)
        return self._dripping(connection, b" " * 100_000)

    def _dripping(self, connection: socket.socket, data: bytes) -> bool:
        for byte in data:
            connection.sendall(bytes([byte]))
            if self.stopping.wait(self.drip):
                break
        return False

    def _hang(self, *_: object) -> bool:
        self.stopping.wait(self.hold)
        return False

    def _pass(self, connection: socket.socket, request: Request) -> bool:
        connection.sendall(forward(request, self.upstream or ""))
        return True

    def _lose_answer(self, connection: socket.socket, request: Request) -> bool:
        self.lost.append(forward(request, self.upstream or ""))
        return reset(connection, request)


def _answers(body: bytes) -> dict[str, Answer]:
    return {
        "cut-json": Answer(body=body[:-5]),
        "empty": Answer(body=b""),
        "html": Answer(body=_PORTAL, content_type="text/html; charset=utf-8"),
        "not-json": Answer(body=b"ok", content_type="text/plain"),
        "wrong-charset": Answer(
            body=body.decode().encode("utf-16"), content_type="application/json; charset=utf-8"
        ),
        "wrong-type": Answer(body=body, content_type="image/png"),
        "json-array": Answer(body=b"[" + body + b"]"),
        "json-null": Answer(body=b"null"),
        "json-int": Answer(body=b"42"),
        "json-nested": Answer(body=b"[" * _NESTED + b"]" * _NESTED),
    }


def _handshake_hang(_: socket.socket, server: FaultServer) -> None:
    server._hang()


def _handshake_plain(connection: socket.socket, _: FaultServer) -> None:
    connection.sendall(Answer(400, b"you speak TLS to a plain port", content_type="text/plain").encode())


def _handshake_reset(connection: socket.socket, _: FaultServer) -> None:
    reset(connection)


def _handshake_eof(_connection: socket.socket, _server: FaultServer) -> None:
    pass


_HANDSHAKES: Mapping[str, Callable[[socket.socket, FaultServer], None]] = {
    "handshake-eof": _handshake_eof,
    "handshake-reset": _handshake_reset,
    "handshake-hang": _handshake_hang,
    "handshake-plain": _handshake_plain,
}


def reset(connection: socket.socket, _: Request | None = None) -> bool:
    """A fault: reset the connection in place of an answer."""
    # Closing with a linger time of nothing sends a reset in place of an end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@functools.lru_cache(4)
def _bomb(size: int) -> bytes:
    """A gzip body that inflates to a JSON string of `size` letters, made in small memory and little time."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)

    def packed(data: bytes, mode: int = zlib.Z_FULL_FLUSH) -> bytes:
        return packer.compress(data) + packer.flush(mode)

    # After a full flush, a block does not depend on those before it: it can be repeated as it is.
    blocks, rest = divmod(size, len(_BLOCK))
    head, block, end = packed(b'"'), packed(_BLOCK), packed(_BLOCK[:rest] + b'"', zlib.Z_FINISH)
    check = zlib.crc32(b'"')
    for _ in range(blocks):
        check = zlib.crc32(_BLOCK, check)
    check = zlib.crc32(_BLOCK[:rest] + b'"', check)
    trailer = struct.pack("<II", check, (size + 2) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + head + block * blocks + end + trailer


@functools.cache
def refused_port() -> int:
    """A port that refuses connections; it stays taken until the process ends, so that it goes on refusing."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    taken.detach()
    return port


class BlackHole:
    """
    A port that swallows what comes.

    Args:
        connect: True lets connections be made and then never says a word;
            False lets even the connecting wait, as a firewall does that drops packets.
    """

    def __init__(self, *, connect: bool = False) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128 if connect else 0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._fill: list[socket.socket] = []
        if not connect:
            self._fill_up()

    def _fill_up(self) -> None:
        """Takes every place in the queue of connections that nobody accepts."""
        for _ in range(64):
            filler = socket.socket()
            self._fill.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return
        raise OSError("the queue of connections does not fill up here")

    def close(self) -> None:
        for filler in self._fill:
            filler.close()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ConnectProxy(HttpServer):
    """
    An HTTP proxy that refuses all, or leads names to ports on loopback.

    With routes, a client can be given a cloud's real host name and meets a server of ours:
    the TLS connection runs from end to end.

        ConnectProxy(status=407)
        ConnectProxy(routes={"team.vault.azure.net": azure_server.port})

    Attributes:
        requests: every request to the proxy.
        targets: the `host:port` of every CONNECT.
    """

    _buffering = 0  # what follows a CONNECT belongs to the host, not to us

    def __init__(self, *, status: int = 502, routes: Mapping[str, int] | None = None) -> None:
        self.status = status
        self.routes = dict(routes or {})
        super().__init__(self._answer)

    @property
    def targets(self) -> list[str]:
        return [request.target for request in self.requests if request.method == "CONNECT"]

    def _answer(self, request: Request) -> Reply:
        port = self.routes.get(request.target.rpartition(":")[0]) if request.method == "CONNECT" else None
        if port is None:
            headers = {"Proxy-Authenticate": 'Basic realm="proxy"'} if self.status == 407 else {}
            headers["Connection"] = "close"
            return Answer(self.status, b"no", headers, "text/plain")
        return functools.partial(_tunnel, port)


def _tunnel(port: int, connection: socket.socket, _: Request) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as host:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        _relay(connection, host)
    return False


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Carries bytes both ways until one side has no more to say."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                data = source.recv(65536)
                if not data:
                    return
                sink.sendall(data)


class Egress(Listener):
    """
    Records whatever reaches it, in any protocol, and refuses it.

    Put where a client might be led astray (a proxy variable, an endpoint variable, a redirect),
    it shows whether it was. Look when it is closed: then nothing is on its way any more.

    Attributes:
        received: all bytes of each connection.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        super().__init__(self._serve)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def count(self) -> int:
        return self.connections

    def saw(self, text: str) -> bool:
        return any(trace in data for trace in traces(text) for data in self.received)

    def proxies(self) -> dict[str, str]:
        """Environment variables that lead clients here."""
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {form: self.url for name in names for form in (name, name.lower())}

    def close(self, grace: float = _PATIENCE + 0.5) -> None:
        """What was sent until now is received still."""
        super().close(grace)

    def _serve(self, connection: socket.socket) -> None:
        data = bytearray(connection.recv(65536))
        number = len(self.received)
        self.received.append(bytes(data))
        connection.settimeout(_PATIENCE)
        connection.sendall(Answer(403, b"no", {"Connection": "close"}, "text/plain").encode())
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while more := connection.recv(65536):
                data += more
                self.received[number] = bytes(data)


def main() -> None:
    import argparse
    import tempfile
    from pathlib import Path

    from tests.servers import by_hand
    from tests.servers.certificates import Certificates

    parser = argparse.ArgumentParser(description="A server that misbehaves.", epilog="modes: see the module")
    parser.add_argument("mode", help="a mode, or a status code")
    parser.add_argument("--body", default="{}")
    parser.add_argument("--tls", metavar="KIND", help="server, expired, wrong_host, self_signed …")
    parser.add_argument("--redirect")
    parser.add_argument("--retry-after")
    parser.add_argument("--upstream")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        with FaultServer(
            int(options.mode) if options.mode.isdigit() else options.mode,
            options.body.encode(),
            headers={"Retry-After": options.retry_after} if options.retry_after else {},
            redirect=options.redirect,
            tls=getattr(certificates, options.tls).context() if options.tls else None,
            upstream=options.upstream,
        ) as server:
            by_hand.serve(
                f"answers {options.mode}",
                {"VAULT_ADDR": server.url, "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)},
            )


if __name__ == "__main__":
    main()
