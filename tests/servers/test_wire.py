"""The proxy that shows what is on the wire."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.servers.faults import refused_port
from tests.servers.http1 import Answer, HttpServer
from tests.servers.listener import Listener
from tests.servers.wire import Wire

if TYPE_CHECKING:
    from tests.servers.openbao import OpenBao


def connect(url: str) -> contextlib.closing[http.client.HTTPConnection]:
    address = urlsplit(url)
    return contextlib.closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=30))


def test_requests_and_answers_pass_unchanged() -> None:
    with (
        HttpServer(lambda request: Answer(201, request.raw, {"X-More": "1"})) as server,
        Wire(server.url) as wire,
        connect(wire.url) as connection,
    ):
        connection.request("POST", "/a/%2e%2e/b?c=d", b"body", {"X-Vault-Token": "hunter2"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["X-More"]) == (201, "1")
        assert answer.read() == wire.requests[0].raw == server.requests[0].raw
        assert wire.lines() == ["POST /a/%2e%2e/b?c=d"]
        assert wire.saw("hunter2")
        assert not wire.saw("hunter3")


def test_connections_are_kept_alive_and_counted() -> None:
    with HttpServer(lambda _: Answer()) as server, Wire(server.url) as wire:
        with connect(wire.url) as connection:
            for _ in range(3):
                connection.request("GET", "/")
                connection.getresponse().read()
        assert (wire.count, wire.connections) == (3, 1)
        wire.forget()
        assert wire.count == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["in chunks", "without a body", "after an interim one"],
)
def test_answers_keep_their_framing(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        connection.recv(1)

    with (
        Listener(serve) as listener,
        Wire(f"http://127.0.0.1:{listener.port}") as wire,
        socket.create_connection(("127.0.0.1", urlsplit(wire.url).port or 0), 30) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(65536, socket.MSG_WAITALL if len(answer) > 65536 else 0) == answer


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_cut_answer_is_not_made_whole(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with (
        Listener(serve) as listener,
        Wire(f"http://127.0.0.1:{listener.port}") as wire,
        connect(wire.url) as connection,
    ):
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()


def test_without_a_server_behind_it_the_connection_ends() -> None:
    with Wire(f"http://127.0.0.1:{refused_port()}") as wire, connect(wire.url) as connection:
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        assert wire.count == 1


def test_the_server_behind_it_has_to_be_plain() -> None:
    with pytest.raises(ValueError, match="plain http"):
        Wire("https://127.0.0.1:1")


def test_openbao_is_read_through_it(openbao: OpenBao) -> None:
    openbao.api("POST", "secret/data/wire", {"data": {"token": "t"}})
    with Wire(openbao.address) as wire, connect(wire.url) as connection:
        connection.request("GET", "/v1/secret/data/wire", headers={"X-Vault-Token": openbao.root_token})
        assert b'"token":"t"' in connection.getresponse().read()
        assert wire.lines() == ["GET /v1/secret/data/wire"]
        assert wire.saw(openbao.root_token)
