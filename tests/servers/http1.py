"""HTTP/1.1 as far as the test servers speak it: a request as it was sent, an answer, a server of both."""

from __future__ import annotations

import base64
import dataclasses
import http
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import parse_qsl, quote

from tests.servers.listener import Listener

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping

_LINE = 65536
_BODILESS = frozenset({204, 304})


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
    """

    time: float
    method: str
    target: str
    # Requests end up in the messages of failing tests, and carry credentials.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)

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


def read_request(stream: BinaryIO) -> Request | None:
    """
    The next request of a connection; None when there is no more, or no whole one.

    Bodies have to come with a Content-Length: the clients that we test all send one.
    """
    lines = _read_head(stream)
    if not lines:
        return None
    words = lines[0].decode("latin-1").split()
    headers = _headers(lines[1:])
    length = headers.get("content-length", "0")
    if len(words) != 3 or not length.isdigit() or "transfer-encoding" in headers:
        return None
    body = stream.read(int(length))
    if len(body) < int(length):
        return None
    raw = b"".join(lines) + b"\r\n" + body
    return Request(time.monotonic(), words[0], words[1], headers, body, raw)


def read_answer(stream: BinaryIO, method: str) -> bytes:
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


def _read_head(stream: BinaryIO) -> list[bytes]:
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


def _read_chunks(stream: BinaryIO) -> bytes:
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


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionAbortedError("an answer was cut")
    return data


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


class HttpServer:
    """
    Answers requests on 127.0.0.1 by a function, and remembers them.

    The function is called by several threads.
    """

    def __init__(self, answer: Callable[[Request], Answer], *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._scheme = "https" if tls else "http"
        self._listener = Listener(self._serve, tls=tls)
        self.port = self._listener.port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while request := read_request(stream):
                self.requests.append(request)
                connection.sendall(self._answer(request).encode(request.method))
                if request.headers.get("connection", "").lower() == "close":
                    return
