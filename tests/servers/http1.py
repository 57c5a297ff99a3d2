"""
HTTP/1.1 as far as the test servers speak it: requests as they were sent, answers, the server of all services.

`HttpServer` is the only code that reads requests. It refuses malformed ones, keeps a record of the others,
and answers each with the next of its `faults` or else by a function:

    with HttpServer(lambda request: Answer.json({"path": request.path})) as server:
        server.faults.append(Answer(503))
        …
        assert server.lines() == ["GET /a", "GET /a"]
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol, Self, cast
from urllib.parse import parse_qsl, quote

from tests.servers.listener import Listener

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

_LINE = 65536
_BODILESS = frozenset({204, 304})
_REQUEST_LINE = re.compile(rb"([A-Z]+) ([!-~]+) (HTTP/1\.[01])\r\n")
_TARGET = re.compile(rb"/.*|https?://.+|\*")
_AUTHORITY = re.compile(rb"[^/@]+:\d+")
_FIELD = re.compile(rb"[\w!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*\r\n", re.ASCII)


class MalformedRequestError(Exception):
    """A request that no HTTP server has to understand. The text names the rule and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request.

    Attributes:
        time: when it was read, on the monotonic clock.
        method: as sent.
        target: the path and query exactly as sent, nothing normalised.
        headers: by lower-case name; repeated ones are joined with a comma.
        body: the body.
        raw: all of it, byte for byte.
        keep: whether the client wants to keep the connection.
    """

    time: float
    method: str
    target: str
    # Requests end up in the messages of failing tests, and carry credentials.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    keep: bool = True

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def bearer(self) -> str:
        """The bearer token, or an empty text."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def carries(self, text: str) -> bool:
        """True if the text stands anywhere in it: plain, percent-encoded, in JSON or inside base64."""
        return any(trace in self.raw for trace in traces(text))


def traces(text: str) -> set[bytes]:
    """The forms in which a text travels."""
    data = text.encode()
    found = {data, quote(text, safe="").encode(), json.dumps(text)[1:-1].encode()}
    for shift in range(3):
        # In base64 the text looks different at each of three alignments;
        # the letters that its neighbours have a part in are left out.
        code = base64.b64encode(bytes(shift) + data)
        inner = code[(0, 2, 3)[shift] : (shift + len(data)) * 8 // 6]
        if len(inner) >= 8:
            found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def read_request(stream: IO[bytes]) -> Request | None:
    """
    The next request of a connection; None if the client sends no more, or only a part of one.

    Bodies have to come with a Content-Length: the clients that we test all send one.

    Raises:
        MalformedRequestError: it breaks the rules of HTTP, or has a body of another kind.
    """
    lines = _read_head(stream)
    if not lines:
        return None
    method, target, version = _request_line(lines[0])
    if not all(_FIELD.fullmatch(line) for line in lines[1:]):
        raise MalformedRequestError("a header field is malformed")
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    if names.count(b"host") > 1 or (b"host" not in names and version == "HTTP/1.1"):
        raise MalformedRequestError("exactly one Host is required")
    headers = _headers(lines[1:])
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,12}", length):
        raise MalformedRequestError("the Content-Length is not one number")
    if "transfer-encoding" in headers:
        raise MalformedRequestError("a body needs a Content-Length")
    body = _at_most(stream, int(length))
    if len(body) < int(length):
        return None
    raw = b"".join(lines) + b"\r\n" + body
    keep = "close" not in headers.get("connection", "").lower() and version == "HTTP/1.1"
    return Request(time.monotonic(), method, target, headers, body, raw, keep)


def _request_line(line: bytes) -> tuple[str, str, str]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedRequestError("the request line is malformed")
    if not (_AUTHORITY if match[1] == b"CONNECT" else _TARGET).fullmatch(match[2]):
        raise MalformedRequestError("the target is malformed")
    return match[1].decode(), match[2].decode(), match[3].decode()


def read_answer(stream: IO[bytes], method: str) -> bytes:
    """
    The next answer of a connection, byte for byte.

    Raises:
        ConnectionError: it ended too early.
    """
    lines = _read_head(stream)
    if not lines:
        raise ConnectionAbortedError("no answer")
    status = int(lines[0].split()[1])
    headers = _headers(lines[1:])
    raw = b"".join(lines) + b"\r\n"
    if status < 200:
        return raw + read_answer(stream, method)
    if method == "HEAD" or status in _BODILESS:
        return raw
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return raw + _read_chunks(stream)
    if "content-length" not in headers:
        return raw + stream.read()
    return raw + _exactly(stream, int(headers["content-length"]))


def _read_head(stream: IO[bytes]) -> list[bytes]:
    """Its lines with their ends, without the empty one; none at all if it is not whole."""
    lines: list[bytes] = []
    while line := stream.readline(_LINE):
        if line in (b"\r\n", b"\n"):
            return lines
        lines.append(line)
    return []


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_chunks(stream: IO[bytes]) -> bytes:
    raw = b""
    while True:
        line = stream.readline(_LINE)
        size = int(line.partition(b";")[0], 16) if line else -1
        if size < 0:
            raise ConnectionAbortedError("an answer in chunks was cut")
        raw += line + (_exactly(stream, size + 2) if size else b"")
        if size == 0:
            while (trailer := stream.readline(_LINE)) not in (b"\r\n", b"\n", b""):
                raw += trailer
            return raw + trailer


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = _at_most(stream, size)
    if len(data) < size:
        raise ConnectionAbortedError("an answer was cut")
    return data


def _at_most(stream: IO[bytes], size: int) -> bytes:
    """Reads until the size or the end; an unbuffered stream returns less at a time."""
    data = bytearray()
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. A header given here replaces the one that would be sent by itself."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    content_type: str = "application/json"

    @classmethod
    def json(cls, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        return cls(status, json.dumps(content).encode(), headers or {}, "application/json; charset=utf-8")

    @property
    def head(self) -> bytes:
        phrase = http.HTTPStatus(self.status).phrase if self.status in set(http.HTTPStatus) else "Unknown"
        headers = dict(self.headers)
        given = {name.lower() for name in headers}
        if self.status not in _BODILESS:
            own = {"Content-Type": self.content_type, "Content-Length": str(len(self.body))}
            headers |= {name: value for name, value in own.items() if name.lower() not in given}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([f"HTTP/1.1 {self.status} {phrase}", *lines, "", ""]).encode("latin-1")

    def encode(self, method: str = "GET") -> bytes:
        return self.head if method == "HEAD" or self.status in _BODILESS else self.head + self.body


class Encodable(Protocol):
    """An `Answer`, or what can be made into one."""

    def encode(self, method: str) -> bytes:
        """Return all bytes of the answer to a request with this method."""


Misbehaviour = Callable[["socket.socket", Request], bool]
# Bytes are sent as they are. A function sends what it wants, and returns whether the connection stays open.
Reply = Encodable | bytes | Misbehaviour


class HttpServer(Listener):
    """
    Answers requests on 127.0.0.1 by a function, and remembers them.

    The services are its subclasses, which give it their own method. It is called by several threads.

    Args:
        answer: answers a request; an `OSError` ends the connection without an answer.
        tls: speaks TLS with this certificate.

    Attributes:
        url: its address.
        requests: all well-formed requests, in the order of arrival.
        malformed: of each request that was refused with a 400 in its place, the reason.
        faults: taken one by each request, in place of the answer; None lets one request pass.
    """

    _buffering = -1

    def __init__(self, answer: Callable[[Request], Reply], *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.malformed: list[str] = []
        self.faults: list[Reply | None] = []
        self._respond = answer
        super().__init__(self._converse, tls=tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def count(self) -> int:
        return len(self.requests)

    def lines(self) -> list[str]:
        """Method and target of each request, to compare with what was expected."""
        return [f"{request.method} {request.target}" for request in self.requests]

    def saw(self, text: str) -> bool:
        """True if any request carried it, in its head or its body, encoded or not."""
        return any(request.carries(text) for request in self.requests)

    def forget(self) -> None:
        """Drops the record, and faults that no request met."""
        self.requests.clear()
        self.malformed.clear()
        self.faults.clear()

    def reply(self, request: Request) -> Reply:
        """The next fault, or what the service answers."""
        return self.next_fault(request) or self._respond(request)

    def next_fault(self, request: Request) -> Reply | None:
        """Take the first of `faults`. A service with several lists chooses one by the request."""
        with contextlib.suppress(IndexError):
            return self.faults.pop(0)
        return None

    def _converse(self, connection: socket.socket) -> None:
        with cast("IO[bytes]", connection.makefile("rb", self._buffering)) as stream:
            try:
                while request := read_request(stream):
                    self.requests.append(request)
                    if not self._send(connection, request) or not request.keep:
                        return
            except MalformedRequestError as error:
                self.malformed.append(str(error))
                refusal = Answer(400, str(error).encode(), {"Connection": "close"}, "text/plain")
                connection.sendall(refusal.encode())

    def _send(self, connection: socket.socket, request: Request) -> bool:
        reply = self.reply(request)
        if callable(reply):
            return reply(connection, request)
        connection.sendall(reply if isinstance(reply, bytes) else reply.encode(request.method))
        return True
