"""What all servers stand on: connections that end, requests kept as they were sent."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading

import pytest

from tests.rows import each_row
from tests.servers.http1 import Answer, HttpServer, Request, traces
from tests.servers.listener import Listener

PATIENCE = 30.0  # seconds: against hangs only


def connect(port: int) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE))


def get(port: int, target: str = "/", method: str = "GET") -> tuple[int, bytes]:
    with connect(port) as connection:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_closing_ends_idle_connections_and_their_threads() -> None:
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        threads.append(threading.current_thread())
        while data := connection.recv(10):
            connection.sendall(data)

    listener = Listener(serve)
    with socket.create_connection(("127.0.0.1", listener.port), PATIENCE) as client:
        client.sendall(b"x")
        assert client.recv(10) == b"x"
        listener.close()
        assert client.recv(10) == b""
    assert [thread.is_alive() for thread in (*threads, listener._acceptor)] == [False, False]


def test_a_closed_listener_refuses() -> None:
    listener = Listener(lambda _: None)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port), PATIENCE)


def test_a_request_is_kept_exactly_as_it_was_sent() -> None:
    with HttpServer(lambda _: Answer()) as server, connect(server.port) as connection:
        connection.request("PUT", "/a/../b%2e/c?x=1&y=", b"body", {"X-One": "1", "x-two": "2"})
        connection.getresponse().read()
        request = server.requests[0]
    assert (request.method, request.target) == ("PUT", "/a/../b%2e/c?x=1&y=")
    assert (request.path, request.query) == ("/a/../b%2e/c", {"x": "1", "y": ""})
    assert (request.body, request.headers["x-one"], request.headers["content-length"]) == (b"body", "1", "4")
    assert request.raw.startswith(b"PUT /a/../b%2e/c?x=1&y= HTTP/1.1\r\n")


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "CONTENT-LENGTH"])
def test_the_length_is_found_in_any_case(name: str) -> None:
    with (
        HttpServer(lambda request: Answer(body=request.body)) as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client,
    ):
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\n%s: 5\r\nConnection: close\r\n\r\nhello" % name.encode()
        )
        assert client.makefile("rb").read().endswith(b"\r\n\r\nhello")


@each_row(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT user@a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-One : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-One: \0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    ],
)
def test_a_malformed_request_is_refused_and_no_service_sees_it(request_bytes: bytes) -> None:
    with (
        HttpServer(lambda _: Answer()) as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client,
    ):
        client.sendall(request_bytes)
        assert client.recv(12) == b"HTTP/1.1 400"
        assert (server.count, len(server.malformed)) == (0, 1)


def test_a_request_that_was_cut_is_no_request() -> None:
    with HttpServer(lambda _: Answer()) as server:
        for cut in (
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        ):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
                client.sendall(cut)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(10) == b""
        assert (server.count, server.malformed) == (0, [])


def test_faults_come_one_by_one_in_place_of_the_answer() -> None:
    def hang_up(connection: socket.socket, _: Request) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        return False

    with HttpServer(lambda _: Answer(body=b"service")) as server:
        server.faults += [Answer(503), None, b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n", hang_up]
        assert [get(server.port) for _ in range(3)] == [(503, b"{}"), (200, b"service"), (299, b"")]
        with pytest.raises(http.client.IncompleteRead):
            get(server.port)
        assert get(server.port) == (200, b"service")
        assert server.lines() == ["GET /"] * 5


def test_what_a_test_leaves_can_be_forgotten() -> None:
    with HttpServer(lambda _: Answer()) as server:
        get(server.port)
        server.faults.append(Answer(503))
        server.forget()
        assert server.count == 0
        assert get(server.port) == (200, b"{}")


def test_one_connection_serves_many_requests() -> None:
    with HttpServer(lambda request: Answer(body=request.target.encode())) as server:
        with connect(server.port) as connection:
            bodies = []
            for target in ("/1", "/2", "/3"):
                connection.request("GET", target)
                bodies.append(connection.getresponse().read())
        assert bodies == [b"/1", b"/2", b"/3"]
        assert server.connections == 1


def test_an_answer_without_a_body_says_so() -> None:
    with HttpServer(lambda _: Answer(204)) as server:
        assert get(server.port) == (204, b"")
        assert get(server.port, method="HEAD") == (204, b"")


def test_a_header_that_is_given_replaces_the_usual_one() -> None:
    head = Answer(body=b"abc", headers={"content-type": "text/html"}).head
    assert head.count(b"ontent-") == 2
    assert b"content-type: text/html" in head


@pytest.mark.parametrize("before", ["", "u:", "us:", "usr:"])
def test_a_text_is_found_inside_base64_at_every_alignment(before: str) -> None:
    packed = base64.b64encode(f"{before}hunter2-and-more?>!".encode())
    request = Request(0.0, "GET", "/", {}, b"", b"Authorization: Basic " + packed)
    assert request.carries("hunter2-and-more?>")
    assert not request.carries("hunter3-and-more?>")


def test_a_text_is_found_in_a_path_and_in_json() -> None:
    assert traces('a b"') >= {b'a b"', b"a%20b%22", b'a b\\"'}


def test_credentials_do_not_show_in_a_failing_test() -> None:
    request = Request(0.0, "GET", "/", {"x-vault-token": "hunter2"}, b"hunter2", b"hunter2")
    assert "hunter2" not in repr(request)
