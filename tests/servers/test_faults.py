"""Each mode does what it says: what a plain HTTP client makes of it is the proof."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from tests.rows import each_row
from tests.servers.faults import BlackHole, ConnectProxy, Egress, FaultServer, Mode, refused_port
from tests.servers.http1 import Answer, HttpServer
from tests.timing import SLACK

if TYPE_CHECKING:
    from tests.servers.certificates import Certificates

BODY = b'{"data":{"token":"CANARY-1"}}'


def fetch(
    port: int, method: str = "GET", *, tls: ssl.SSLContext | None = None, timeout: float = 5
) -> tuple[int, bytes]:
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    )
    with contextlib.closing(connection):
        connection.request(method, "/v1/a", headers={"X-Vault-Token": "CANARY-2"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@each_row(
    ("mode", "error"),
    [
        ("reset", ConnectionResetError),
        ("reset-head", ConnectionResetError),
        ("reset-body", ConnectionResetError),
        ("close", http.client.RemoteDisconnected),
        ("short-body", http.client.IncompleteRead),
    ],
)
def test_connections_break_where_they_should(mode: str, error: type[Exception]) -> None:
    with FaultServer(mode, BODY) as server:
        with pytest.raises(error):
            fetch(server.port)
        assert server.count == 1
        assert server.saw("CANARY-2")
        assert not server.saw("CANARY-3")


@each_row(
    ("mode", "body"),
    [
        ("cut-json", BODY[:-5]),
        ("empty", b""),
        ("not-json", b"ok"),
        ("wrong-charset", BODY.decode().encode("utf-16")),
        ("wrong-type", BODY),
        ("json-array", b"[" + BODY + b"]"),
        ("json-null", b"null"),
        ("json-int", b"42"),
    ],
)
def test_whole_answers_are_wrong_as_they_should_be(mode: str, body: bytes) -> None:
    with FaultServer(mode, BODY) as server:
        assert fetch(server.port) == (200, body)


def test_nested_json_is_too_deep_to_parse() -> None:
    with FaultServer("json-nested") as server, pytest.raises(RecursionError):
        json.loads(fetch(server.port)[1])


def test_a_portal_answers_in_html() -> None:
    with FaultServer("html") as server:
        assert fetch(server.port)[1].startswith(b"<!doctype html>")


@each_row("status", [204, 403, 412, 473, 500, 503])
def test_any_status_can_be_had(status: int) -> None:
    with FaultServer(status, BODY, headers={"Retry-After": "1"}) as server:
        assert fetch(server.port) == (status, b"" if status == 204 else BODY)


def test_a_function_of_the_number_chooses() -> None:
    def mode(number: int) -> Mode:
        modes: list[Mode] = [503, Answer(429, b"later", {"Retry-After": "7"}), "empty"]
        return modes[number - 1]

    with FaultServer(mode) as server:
        assert [fetch(server.port) for _ in range(3)] == [(503, b"{}"), (429, b"later"), (200, b"")]


def test_a_redirect_names_its_place() -> None:
    with FaultServer(307, redirect="http://elsewhere.example/") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Location"]) == (307, "http://elsewhere.example/")
            answer.read()


def test_an_unknown_mode_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no such mode"):
        FaultServer("rst")
    with pytest.raises(ValueError, match="nothing to pass"):
        FaultServer("pass")


def test_silence_lasts_until_the_server_is_closed() -> None:
    with FaultServer("hang") as server:
        with pytest.raises(TimeoutError):
            fetch(server.port, timeout=0.2)
        started = time.monotonic()
    assert time.monotonic() - started < SLACK


@pytest.mark.parametrize("mode", ["drip-head", "drip-body"])
def test_a_drip_outlasts_the_timeout_of_each_read(mode: str) -> None:
    with (
        FaultServer(mode, drip=0.01) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.settimeout(SLACK)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        # Many reads, none of which times out, and there is more to come.
        for _ in range(30):
            assert len(client.recv(1000)) > 0


def test_a_huge_body_is_as_large_as_it_says() -> None:
    with FaultServer("huge", size=3_000_000) as server:
        assert len(fetch(server.port)[1]) == server.sent + 2 == 3_000_002


def test_a_huge_body_stops_when_the_client_has_enough() -> None:
    with FaultServer("huge") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
            connection.request("GET", "/")
            with connection.getresponse() as answer:
                answer.read(1000)
    assert server.sent < 1 << 28


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    with FaultServer("gzip-bomb", size=10_000_000) as server:
        packed = fetch(server.port)[1]
    assert len(packed) < 20_000
    assert len(gzip.decompress(packed)) == 10_000_002


def test_a_request_can_be_done_and_its_answer_lost() -> None:
    with HttpServer(lambda _: Answer(body=b"done")) as upstream:
        with FaultServer("lose-answer", upstream=upstream.url) as server, pytest.raises(ConnectionResetError):
            fetch(server.port)
        assert [b"done"] == [answer.partition(b"\r\n\r\n")[2] for answer in server.lost]
        with FaultServer("pass", upstream=upstream.url) as server:
            assert fetch(server.port) == (200, b"done")
        assert len(upstream.requests) == 2


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("handshake-eof", (ssl.SSLEOFError, ConnectionResetError)),
        ("handshake-reset", (ssl.SSLEOFError, ConnectionResetError)),
        ("handshake-hang", TimeoutError),
        ("handshake-plain", ssl.SSLError),
    ],
)
def test_handshakes_fail(mode: str, error: type[Exception]) -> None:
    with FaultServer(mode) as server:
        assert server.url.startswith("https://")
        with pytest.raises(error):
            fetch(server.port, tls=ssl.create_default_context(), timeout=0.5)
        assert (server.connections, server.count) == (1, 0)


@pytest.mark.parametrize(
    ("mode", "error"),
    [("short-body", ssl.SSLEOFError), ("short-body-ended", type(None)), ("reset-body", OSError)],
)
def test_a_short_body_is_cut_on_the_way_or_ended_by_the_server(
    mode: str, error: type[Exception], certificates: Certificates
) -> None:
    client = ssl.create_default_context(cafile=certificates.ca_file)
    with FaultServer(mode, BODY, tls=certificates.server.context()) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port), 30) as wire,
            client.wrap_socket(wire, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                while secure.recv(65536):
                    pass
                met: Exception | None = None
            except OSError as raised:
                met = raised
    assert isinstance(met, error)


def test_a_certificate_that_is_refused_is_counted(certificates: Certificates) -> None:
    client = ssl.create_default_context(cafile=certificates.ca_file)
    with FaultServer(200, tls=certificates.expired.context()) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            fetch(server.port, tls=client)
    assert (server.tls_failures, server.count) == (1, 0)
    with FaultServer(200, BODY, tls=certificates.server.context()) as server:
        assert fetch(server.port, tls=client) == (200, BODY)
    assert (server.tls_failures, server.count) == (0, 1)


# -- places without a server ---------------------------------------------------------------------


def test_a_refused_port_goes_on_refusing() -> None:
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            fetch(refused_port())


def test_a_black_hole_swallows_connections() -> None:
    with BlackHole() as hole, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", hole.port), 0.3)


def test_a_black_hole_may_connect_and_say_nothing() -> None:
    with BlackHole(connect=True) as hole, socket.create_connection(("127.0.0.1", hole.port), 0.3) as client:
        client.sendall(b"hello?")
        with pytest.raises(TimeoutError):
            client.recv(1)


# -- proxies -------------------------------------------------------------------------------------


def through(proxy: int, host: str, tls: ssl.SSLContext) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection("127.0.0.1", proxy, timeout=30, context=tls)
    connection.set_tunnel(host, 443)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"X-Vault-Token": "CANARY-2"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_proxy_leads_a_clouds_name_here(certificates: Certificates) -> None:
    client = ssl.create_default_context(cafile=certificates.ca_file)
    with (
        HttpServer(lambda _: Answer(body=b"here"), tls=certificates.server.context()) as server,
        ConnectProxy(routes={"team.vault.azure.net": server.port}) as proxy,
    ):
        assert through(proxy.port, "team.vault.azure.net", client) == (200, b"here")
        with pytest.raises(OSError, match="502"):
            through(proxy.port, "other.vault.azure.net", client)
        assert proxy.targets == ["team.vault.azure.net:443", "other.vault.azure.net:443"]
        assert not proxy.saw("CANARY-2")


def test_a_proxy_demands_a_login(certificates: Certificates) -> None:
    with ConnectProxy(status=407) as proxy:
        with pytest.raises(OSError, match="407"):
            through(proxy.port, "team.vault.azure.net", ssl.create_default_context())
        assert fetch(proxy.port) == (407, b"no")
        assert proxy.saw("CANARY-2")


def test_egress_keeps_all_that_it_is_sent() -> None:
    with Egress() as egress:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", egress.port)) as connection:
            connection.request("POST", "http://elsewhere.example/", b"x" * 100_000 + b"CANARY-1")
            assert connection.getresponse().status == 403
        with socket.create_connection(("127.0.0.1", egress.port)) as client:
            client.sendall(b"\x16\x03\x01 no HTTP at all")
        with socket.create_connection(("127.0.0.1", egress.port)):
            pass
    assert egress.count == 3
    assert egress.saw("CANARY-1")
    assert egress.saw("no HTTP at all")
    assert not egress.saw("CANARY-3")
    assert egress.proxies()["https_proxy"] == egress.url
