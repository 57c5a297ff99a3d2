"""
Servers of HTTP/2 that misbehave, on raw sockets, for clients that speak gRPC.

A mode is what each call is answered with:

    a status code        an answer of a web server or a proxy, with a page
    a list of frames     these, as `headers`, `message`, `trailers` and `Raw` make them; then `hold` seconds

    good = [headers(), message(data), trailers(0)]
    with Http2Server([headers(), message(b"x" * 300_000), trailers(0)], pair.context()) as server:
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from tests.servers.listener import Listener

if TYPE_CHECKING:
    import ssl

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_WINDOW_SIZE = 16384

Frame = tuple[int, int, bytes]
RESET = "reset"


def headers(status: int = 200, content_type: str = "application/grpc", *, end: bool = False) -> Frame:
    # A field by its name's number in the static table (:status 8, content-type 31), its value as it is.
    block = b"\x08" + _text(str(status)) + b"\x0f\x10" + _text(content_type)
    return _HEADERS, _END_HEADERS | (_END_STREAM if end else 0), block


def message(data: bytes, *, length: int | None = None) -> Frame:
    """
    Args:
        length: that it says it has, where that is not so.
    """
    return _DATA, 0, b"\0" + struct.pack(">I", len(data) if length is None else length) + data


def part(data: bytes) -> Frame:
    """More of a message that said it is longer."""
    return _DATA, 0, data


def page(data: bytes) -> Frame:
    return _DATA, _END_STREAM, data


def trailers(code: int, **more: str) -> Frame:
    fields = {"grpc-status": str(code), **more}
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return _HEADERS, _END_HEADERS | _END_STREAM, block


class Http2Server(Listener):
    """
    Args:
        answer: see the module; `RESET` in place of a frame resets the connection.
        tls: has to offer h2.
        drip: seconds between two bytes of what is sent for a call.

    Attributes:
        calls: how many there were.
        received: all bytes of each connection.
    """

    def __init__(self, answer: int | list[Frame | str], tls: ssl.SSLContext, *, drip: float = 0.0) -> None:
        if isinstance(answer, int):
            answer = [headers(answer, "text/html"), page(b"<html>Welcome to the hotel</html>")]
        self._answer = answer
        self._drip = drip
        self.calls = 0
        self.received: list[bytes] = []
        tls.set_alpn_protocols(["h2"])
        super().__init__(self._serve, tls=tls)
        self.endpoint = f"127.0.0.1:{self.port}"

    def _serve(self, connection: socket.socket) -> None:
        number = len(self.received)
        self.received.append(b"")
        with connection.makefile("rb") as stream:
            if stream.read(len(_PREFACE)) != _PREFACE:
                return
            connection.sendall(_frame(_SETTINGS, 0, 0, b""))
            while head := stream.read(9):
                if len(head) < 9:
                    return
                length = int.from_bytes(head[:3], "big")
                kind, flags, stream_id = head[3], head[4], int.from_bytes(head[5:], "big")
                body = stream.read(length)
                self.received[number] += head + body
                if kind == _SETTINGS and not flags & _ACK:
                    connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
                if kind == _PING and not flags & _ACK:
                    connection.sendall(_frame(_PING, _ACK, 0, body))
                if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
                    self.calls += 1
                    if not self._send(connection, stream_id):
                        return

    def _send(self, connection: socket.socket, stream_id: int) -> bool:
        for frame in self._answer:
            if isinstance(frame, str):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            kind, flags, body = frame
            pieces = [body[start : start + _WINDOW_SIZE] for start in range(0, len(body), _WINDOW_SIZE)] or [
                b""
            ]
            data = b"".join(
                _frame(kind, flags if piece is pieces[-1] else 0, stream_id, piece) for piece in pieces
            )
            if not self._drip:
                connection.sendall(data)
                continue
            for byte in data:
                connection.sendall(bytes([byte]))
                if self.stopping.wait(self._drip):
                    return False
        return True


def _frame(kind: int, flags: int, stream_id: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body


def _text(text: str) -> bytes:
    """A text of HPACK, not compressed; its length has a prefix of 7 bits."""
    data, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + data
    head, length = b"\x7f", length - 127
    while length >= 128:
        head, length = head + bytes([length % 128 + 128]), length // 128
    return head + bytes([length]) + data
