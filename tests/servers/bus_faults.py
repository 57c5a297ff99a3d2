"""A session bus that fails at one call: all calls before it are answered by a real one."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from jeepney import Message, Parser, new_error, new_method_return

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AT_LOGIN", "CALL_MODES", "LOGIN_MODES", "FaultBus"]

AT_LOGIN = 0
LOGIN_MODES = ("end", "silence", "rejected", "garbage", "without end")
# A text with a dot is the name of an error.
CALL_MODES = ("end", "half an answer", "silence", "garbage", "no body", "a number", "a text", "other fields")
_GARBAGE = b"\xff\xfe" * 200


class FaultBus:
    """
    Args:
        upstream: the socket of a real bus.
        mode: one of the modes, or the name of an error.
        at: the number of the call that fails, from 1; `AT_LOGIN` for the login before.
        text: in an answer at fault.

    Attributes:
        most: calls of a connection.
    """

    def __init__(self, folder: Path, upstream: str, *, mode: str = "", at: int = -1, text: str = "") -> None:
        self._upstream, self._mode, self._at, self._text = upstream, mode, at, text
        self._path = folder / "faulty"
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = [self._listener]
        self.most = 0

    @property
    def address(self) -> str:
        return f"unix:path={self._path}"

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            _end(one)
        self._path.unlink()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            if self._at == AT_LOGIN:
                client.recv(1024)
                self._fail_at_login(client)
                return
            server.connect(self._upstream)
            threading.Thread(target=_pass, args=(server, client), daemon=True).start()
            read = b""
            while b"BEGIN\r\n" not in read:
                piece = client.recv(4096)
                if not piece:
                    return
                read += piece
                server.sendall(piece.partition(b"BEGIN\r\n")[0])
            server.sendall(b"BEGIN\r\n")
            self._relay(client, server, read.partition(b"BEGIN\r\n")[2])

    def _relay(self, client: socket.socket, server: socket.socket, piece: bytes) -> None:
        parser = Parser()
        calls = 0
        while True:
            for message in parser.feed(piece):
                calls += 1
                self.most = max(self.most, calls)
                if calls == self._at:
                    self._fail(client, message)
                    return
                server.sendall(message.serialise(serial=message.header.serial))
            piece = client.recv(65536)
            if not piece:
                _end(server)
                return

    def _fail_at_login(self, client: socket.socket) -> None:
        if self._mode == "end":
            _end(client)
        elif self._mode == "rejected":
            client.sendall(f"REJECTED {self._text}\r\n".encode())
        elif self._mode == "garbage":
            client.sendall(_GARBAGE + b"\r\n")
        elif self._mode == "without end":
            while True:
                client.sendall(self._text.encode())

    def _fail(self, client: socket.socket, call: Message) -> None:
        if self._mode == "silence":
            return
        if self._mode == "garbage":
            client.sendall(_GARBAGE)
        elif self._mode != "end":
            data = self._answer(call).serialise(serial=1000)
            client.sendall(data[: len(data) // 2] if self._mode == "half an answer" else data)
        _end(client)

    def _answer(self, call: Message) -> Message:
        if "." in self._mode:
            return new_error(call, self._mode, "s", (self._text,))
        signature, body = {
            "no body": (None, ()),
            "a number": ("u", (7,)),
            "a text": ("s", (self._text,)),
            "half an answer": ("s", (self._text,)),
            "other fields": ("(sas)", ((self._text, [self._text]),)),
        }[self._mode]
        return new_method_return(call, signature, body)


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    _end(sink)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
