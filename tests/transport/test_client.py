"""Requests on real sockets: deadlines, limits, framing, proxies, connections that are used again."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.testing import appearances, reachable_text
from astro_token.transport.client import Client, Response
from astro_token.transport.route import Route
from tests.servers.faults import BlackHole, ConnectProxy, Egress, FaultServer, refused_port
from tests.servers.listener import Listener
from tests.timing import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.certificates import Certificates, Pair

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def send(client: Client, url: str, seconds: float = 5.0, *, method: str = "GET", **options: Any) -> Response:
    environ = options.pop("environ", {})
    route = Route.to(url, environ, service="Vault", variable="VAULT_ADDR", ca_variables=("VAULT_CACERT",))
    until = time.monotonic() + seconds
    return client.send(route, method, route.address.target, until=until, **options)


def failure(client: Client, url: str, seconds: float = 5.0, **options: Any) -> AstroTokenError:
    with pytest.raises(AstroTokenError) as raised:
        send(client, url, seconds, **options)
    assert raised.value.__cause__ is raised.value.__context__ is None
    return raised.value


@contextmanager
def saying(*answers: bytes, end: bool = True) -> Iterator[str]:
    """A server that sends these bytes, whatever it receives: the address."""

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(65536)
            connection.sendall(answer)
        if not end:
            listener.stopping.wait(30)

    with Listener(serve) as listener:
        yield f"http://127.0.0.1:{listener.port}"


# -- one exchange -------------------------------------------------------------------------------------


def test_a_request_is_sent_as_it_is_and_answered(client: Client) -> None:
    body = b'{"a": 1}'
    with FaultServer(200, body, headers={"Set-Cookie": "a=b; Path=/"}) as server:
        headers = {"X-Token": b"t", "accept-encoding": "gzip", "Host": "evil.example", "User-Agent": "own"}
        for _ in range(2):
            response = send(client, f"{server.url}/a?b=c", method="LIST", headers=headers, body=b"xy")
        assert (200, {"a": 1}, None) == (response.status, response.json(), response.failure())
        request = server.requests[-1]
        assert ("LIST", "/a?b=c", b"xy") == (request.method, request.target, request.body)
        assert {
            "host": f"127.0.0.1:{server.port}",
            "accept-encoding": "identity",
            "user-agent": "own",
            "x-token": "t",
            "content-length": "2",
        } == dict(request.headers)


@pytest.mark.parametrize("header", ["a\r\nX: y", "a\nb", "t\u0142"])
def test_a_header_that_cannot_be_sent_is_a_matter_of_configuration(client: Client, header: str) -> None:
    with FaultServer(200) as server:
        error = failure(client, server.url, headers={"X-Token": f"s3cr3t{header}"})
        assert (ConfigError, 0) == (type(error.with_traceback(None)), server.count)
    assert [] == appearances("s3cr3t", reachable_text(error))


def test_a_target_that_cannot_be_sent_is_refused_too(client: Client) -> None:
    with FaultServer(200) as server, pytest.raises(ConfigError):
        client.send(Route.to(server.url, {}), "GET", "/a\r\nX: y", until=time.monotonic() + 5)
    assert 0 == server.count


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_of_its_own(client: Client, status: int) -> None:
    with Egress() as other, FaultServer(status, redirect=other.url) as server:
        error = send(client, server.url).failure()
        assert (1, 0) == (server.count, other.count)
    assert isinstance(error, IntegrityError)
    assert "Vault answered with a redirect, which is not followed" == error.message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, 0),
        (204, 0),
        (400, 0),
        (401, 0),
        (403, 0),
        (404, 0),
        (407, 78),
        (408, 75),
        (429, 75),
        (500, 75),
        (501, 69),
        (503, 75),
        (505, 69),
        (511, 69),
    ],
)
def test_a_status_has_one_meaning_or_is_left_to_the_service(client: Client, status: int, code: int) -> None:
    with FaultServer(status, headers={"Retry-After": "7"}) as server:
        response = send(client, server.url)
    error = response.failure()
    assert code == (error.exit_code if error else 0)
    assert getattr(error, "retry_after", 7.0) == 7.0 or code == 78
    assert code != 69 or str(error) == f"Vault does not support the request (status {status})"


def test_further_statuses_can_mean_busy(client: Client) -> None:
    with FaultServer(410) as server:
        response = send(client, server.url)
    assert response.failure() is None
    assert isinstance(response.failure({410}), BackendUnavailableError)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3,
    ],
)
def test_interim_responses_are_passed_over(client: Client, answer: bytes) -> None:
    with saying(answer + OK + b"Content-Length: 2\r\n\r\n{}") as url:
        response = send(client, url)
    assert (200, {}) == (response.status, response.json())


def test_interim_responses_end_and_101_is_a_response(client: Client) -> None:
    with saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200) as url:
        assert 76 == failure(client, url).exit_code
    with saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\n") as url:
        assert 101 == send(client, url).status


# -- the body -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Content-Length: -2\r\n\r\n{}",
        b"Content-Length: x\r\n\r\n{}",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip\r\n\r\n{}",
    ],
)
def test_a_body_whose_end_is_not_clear_is_refused(client: Client, head: bytes) -> None:
    with saying(OK + head) as url:
        assert IntegrityError is type(failure(client, url))


@pytest.mark.parametrize(
    ("head", "limit"),
    [
        (b"Content-Length: 9\r\n\r\n{}", 100),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 100),
        (b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", 100),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", 100),
        (b"Content-Length: 2\r\n\r\n{}", 1),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1),
        (b"\r\n{}", 1),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 100),
    ],
)
def test_a_body_that_is_cut_or_too_large_or_packed_is_damaged(
    client: Client, head: bytes, limit: int
) -> None:
    with saying(OK + head) as url:
        response = send(client, url, limit=limit)
    assert (None, None) == (response.body, response.json())
    assert isinstance(response.failure(), IntegrityError)


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 2\r\n\r\n{}", b"\r\n{}", b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
)
def test_a_body_of_the_largest_size_is_read(client: Client, head: bytes) -> None:
    with saying(OK + head) as url:
        assert b"{}" == send(client, url, limit=2).body


@pytest.mark.parametrize("mode", ["huge", "gzip-bomb"])
def test_a_large_body_is_not_read_to_its_end(client: Client, mode: str) -> None:
    with FaultServer(mode, size=1 << 28) as server:
        assert send(client, server.url).body is None
        assert server.sent < 32 << 20


def test_a_chunk_of_negative_size_is_not_read_to_the_end_of_the_connection(client: Client) -> None:
    sent = 0

    def serve(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65536)
        connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n")
        while sent < 64 << 20:
            sent += connection.send(b"a" * 65536)

    with Listener(serve) as listener:
        assert send(client, f"http://127.0.0.1:{listener.port}").body is None
    assert sent < 32 << 20


def test_a_denial_with_a_damaged_body_is_a_denial(client: Client) -> None:
    with saying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n") as url:
        response = send(client, url)
    assert (403, None, None) == (response.status, response.body, response.failure())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", "application/json"),
        (b"{", "application/json"),
        (b"{}", "text/html"),
        (b"\xff\xfe{\0}\0", "application/json"),
        (b"[" * 100_000, "application/json"),
    ],
)
def test_json_is_an_object_that_says_so(client: Client, body: bytes, kind: str) -> None:
    with FaultServer(200, body, content_type=kind) as server:
        assert send(client, server.url).json() is None


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 300000\r\n\r\n" + b"a" * 300_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"c350\r\n" + b"a" * 50_000 + b"\r\n0\r\n\r\n",
    ],
)
def test_a_stream_is_read_in_pieces_and_its_connection_used_again(client: Client, head: bytes) -> None:
    with saying(OK + head, OK + b"Content-Length: 2\r\n\r\n{}") as url:
        route = Route.to(url, {})
        with client.send(route, "GET", "/", until=time.monotonic() + 5, limit=None) as stream:
            assert stream.is_bounded
            blocks = list(iter(lambda: stream.read(7000), b""))
        assert {b"a"} == {block[:1] for block in blocks}
        assert sum(map(len, blocks)) in {300_000, 50_000}
        assert b"{}" == send(client, url).body


@pytest.mark.parametrize(
    "head", [b"Content-Length: 9\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"]
)
def test_a_stream_that_ends_early_can_be_tried_again(client: Client, head: bytes) -> None:
    with (
        saying(OK + head) as url,
        client.send(Route.to(url, {}), "GET", "/", until=time.monotonic() + 5, limit=None) as stream,
    ):
        with pytest.raises(BackendUnavailableError, match="ended the response early"):
            list(iter(lambda: stream.read(100), b""))


# -- time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hang", "drip-head", "drip-body", "handshake-hang"])
def test_every_wait_shares_the_deadline(client: Client, mode: str) -> None:
    with FaultServer(mode, drip=0.02) as server:
        started = time.monotonic()
        error = failure(client, server.url, 0.3)
        assert time.monotonic() - started < 0.3 + SLACK
    assert (BackendUnavailableError, "Vault did not answer in time") == (type(error), error.message)


def test_a_proxy_and_a_firewall_share_it_too(client: Client) -> None:
    with BlackHole(connect=True) as mute, BlackHole() as firewall:
        started = time.monotonic()
        error = failure(client, "https://vault.example", 0.3, environ={"HTTPS_PROXY": mute.url})
        assert 75 == error.exit_code
        assert 75 == failure(client, firewall.url, 0.3).exit_code
        assert time.monotonic() - started < 0.6 + SLACK


@pytest.mark.parametrize("host", ["vault.example", "vault.prod1", "1.2.3"])
def test_a_lookup_that_does_not_return_is_left_behind(
    client: Client, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(20) and [])
    started = time.monotonic()
    assert 75 == failure(client, f"https://{host}", 0.3).exit_code
    assert time.monotonic() - started < 0.3 + SLACK
    never.set()


def led(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Every name leads to these ports of this machine."""
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(addresses))


def test_the_next_address_is_tried_when_the_first_is_dead(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlackHole() as dead, FaultServer(200) as server:
        for first in ((dead.port,), (refused_port(),), (dead.port, refused_port(), dead.port)):
            led(monkeypatch, *first, server.port)
            started = time.monotonic()
            assert 200 == send(client, f"http://127.0.0.1:{server.port}", 20, method="POST").status
            assert time.monotonic() - started < 1 + SLACK
        led(monkeypatch, refused_port(), refused_port())
        assert 75 == failure(client, "http://127.0.0.1:1").exit_code


def test_families_of_addresses_alternate() -> None:
    from astro_token.transport.connection import _interleaved

    six, four = [(10, n) for n in range(3)], [(2, n) for n in range(2)]
    assert [(10, 0), (2, 0), (10, 1), (2, 1), (10, 2)] == _interleaved([*six, *four])
    assert four == _interleaved(four)


# -- connections --------------------------------------------------------------------------------------


def test_a_connection_is_used_again(client: Client) -> None:
    with FaultServer(200) as server:
        for _ in range(3):
            send(client, server.url)
        send(client, server.url, method="POST", repeatable=True)
        assert (4, 1) == (server.count, server.connections)
        client.close()
        send(client, server.url)
        assert 2 == server.connections


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(200) as server:
        send(client, server.url)
        monkeypatch.setattr("astro_token.transport.client._IDLE_SECONDS", 0.0)
        send(client, server.url)
        assert 2 == server.connections


def test_a_connection_belongs_to_the_certificates_with_which_it_was_opened(
    client: Client, certificates: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ca_file.read_bytes())
    with FaultServer(200, tls=certificates.server.context()) as server:
        route = Route.to(server.url, {"OWN": str(file)}, ca_variables=("OWN",))
        with client.send(route, "GET", "/", until=time.monotonic() + 5, limit=None) as stream:
            file.write_bytes(certificates.self_signed.certificate.read_bytes())
            os.utime(file, (1, 1))
            while stream.read(1000):
                pass
        with pytest.raises(IntegrityError, match="is not trusted"):
            client.send(route, "GET", "/", until=time.monotonic() + 5)


def test_a_failure_names_the_service_of_its_own_request(client: Client) -> None:
    with FaultServer(503) as server:
        for service in ("Vault", "AWS"):
            route = Route.to(server.url, {}, service=service)
            response = client.send(route, "GET", "/", until=time.monotonic() + 5)
            assert service in str(response.failure())
        assert 1 == server.connections


def test_bytes_without_a_request_are_not_its_response(client: Client, certificates: Certificates) -> None:
    extra = OK + b"Content-Length: 4\r\n\r\nevil"

    def serve(connection: socket.socket) -> None:
        with certificates.server.context().wrap_socket(connection, server_side=True) as tls:
            while tls.recv(65536):
                # One TLS record, of which the client takes the first half.
                tls.sendall((OK + b"Content-Length: 2\r\n\r\n{}").ljust(8192, b" ") + extra)

    with Listener(serve) as listener:
        environ = {"VAULT_CACERT": str(certificates.ca_file)}
        url = f"https://127.0.0.1:{listener.port}"
        assert [b"{}", b"{}"] == [send(client, url, environ=environ).body for _ in range(2)]
        assert 2 == listener.connections
        client.close()


def ending(requests: list[bytes], *answers: bytes) -> Callable[[socket.socket], None]:
    """Answers the first request of a connection, and ends it after the second one, or after these bytes."""

    def serve(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")
        if more := connection.recv(65536):
            requests.append(more)
            for answer in answers:
                connection.sendall(answer)

    return serve


def test_a_connection_that_ends_before_the_first_byte_is_replaced_once_for_reads(client: Client) -> None:
    requests: list[bytes] = []
    with Listener(ending(requests)) as listener:
        url = f"http://127.0.0.1:{listener.port}"
        assert [200, 200] == [send(client, url).status for _ in range(2)]
        assert (3, 2) == (len(requests), listener.connections)


def test_after_the_first_byte_nothing_is_sent_again(client: Client) -> None:
    requests: list[bytes] = []
    with Listener(ending(requests, b"HTTP/1.1 2")) as listener:
        url = f"http://127.0.0.1:{listener.port}"
        send(client, url)
        failure(client, url)
        assert 2 == len(requests)


def test_what_creates_something_is_sent_on_a_new_connection_and_once(client: Client) -> None:
    with FaultServer(lambda number: 200 if number == 1 else "close") as server:
        send(client, server.url)
        assert 75 == failure(client, server.url, method="POST").exit_code
        assert 75 == failure(client, server.url, method="PUT").exit_code
        assert 75 == failure(client, server.url, method="GET", repeatable=False).exit_code
        assert (4, 4) == (server.count, server.connections)


@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_a_connection_that_has_ended_or_says_something_is_not_used(client: Client, extra: bytes) -> None:
    said = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")
        time.sleep(0.2)
        if extra:
            connection.sendall(extra)
        else:
            connection.shutdown(socket.SHUT_WR)
        said.set()
        connection.recv(65536)

    with Listener(serve) as listener:
        for _ in range(2):
            assert 200 == send(client, f"http://127.0.0.1:{listener.port}", method="GET").status
            assert said.wait(10)
            time.sleep(0.2)
        assert 2 == listener.connections


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
def test_a_connection_that_is_to_be_closed_is_closed(client: Client, head: bytes) -> None:
    with saying(head + b"Content-Length: 2\r\n\r\n{}") as url:
        assert [b"{}", b"{}"] == [send(client, url).body for _ in range(2)]
    assert not client._idle


def test_connections_of_requests_that_are_not_repeated_do_not_pile_up(client: Client) -> None:
    with saying(OK + b"Content-Length: 2\r\n\r\n{}") as url:
        for _ in range(40):
            send(client, url, method="POST")
    (idle,) = client._idle.values()
    assert 16 == len(idle)


def test_a_forked_child_opens_its_own_connection(client: Client, certificates: Certificates) -> None:
    environ = {"VAULT_CACERT": str(certificates.ca_file)}
    with FaultServer(200, tls=certificates.server.context()) as server:
        send(client, server.url, environ=environ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the servers' threads
            program = os.fork()
        if program == 0:
            try:
                send(client, server.url, environ=environ)
                client.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert (program, 0) == os.waitpid(program, 0)
        send(client, server.url, environ=environ)  # the parent's connection still works
        assert (3, 2) == (server.count, server.connections)


def test_threads_do_not_share_a_connection(client: Client) -> None:
    statuses: list[int] = []
    with FaultServer(200) as server:

        def several() -> None:
            statuses.extend(send(client, server.url).status for _ in range(20))

        threads = [threading.Thread(target=several) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ([200] * 160, True) == (statuses, server.connections <= 8)


# -- TLS ----------------------------------------------------------------------------------------------


def test_a_trusted_service_is_asked_over_tls_and_a_connection_used_again(
    client: Client, certificates: Certificates
) -> None:
    environ = {"VAULT_CACERT": str(certificates.ca_file)}
    with FaultServer(200, tls=certificates.server.context()) as server:
        named = server.url.replace("127.0.0.1", "localhost")
        for url in (server.url, server.url, named):
            assert 200 == send(client, url, environ=environ).status
        assert (3, 2) == (server.count, server.connections)


def test_an_intermediate_authority_can_be_trusted(client: Client, tmp_path: Path) -> None:
    root = trustme.CA()
    intermediate = root.create_child_ca()
    pair = intermediate.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.configure_cert(context)
    bundle = tmp_path / "intermediate.pem"
    bundle.write_bytes(intermediate.cert_pem.bytes())
    with FaultServer(200, tls=context) as server:
        assert 200 == send(client, server.url, environ={"VAULT_CACERT": str(bundle)}).status


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("self_signed", "is not trusted"),
        ("unknown_ca", "is not trusted"),
        ("expired", "has expired"),
        ("not_yet_valid", "is not valid yet"),
        ("wrong_host", "is for another host"),
    ],
)
def test_a_bad_certificate_is_reported_by_what_is_bad_about_it(
    client: Client, certificates: Certificates, name: str, words: str
) -> None:
    pair: Pair = getattr(certificates, name)
    with FaultServer(200, tls=pair.context()) as server:
        error = failure(client, server.url, environ={"VAULT_CACERT": str(certificates.ca_file)})
        assert (IntegrityError, True, 0) == (type(error), words in error.message, server.count)
        if words == "is not trusted":
            assert "VAULT_CACERT or ASTRO_TOKEN_CA_BUNDLE" in (error.hint or "")


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("handshake-plain", 76, "Vault does not use TLS on this port"),
        ("handshake-eof", 75, "cannot be reached"),
        ("handshake-reset", 75, "cannot be reached"),
    ],
)
def test_a_handshake_that_fails(
    client: Client, certificates: Certificates, mode: Any, code: int, words: str
) -> None:
    with FaultServer(mode) as server:
        error = failure(client, server.url, environ={"VAULT_CACERT": str(certificates.ca_file)})
    assert (code, True) == (error.exit_code, words in error.message)


def test_old_tls_is_refused(client: Client, certificates: Certificates) -> None:
    with FaultServer(200, tls=certificates.server.context(ancient=True)) as server:
        error = failure(client, server.url, environ={"VAULT_CACERT": str(certificates.ca_file)})
        assert (IntegrityError, 0) == (type(error), server.count)
    assert "TLS 1.2" in error.message


def test_a_client_certificate_is_shown_if_one_is_required(client: Client, certificates: Certificates) -> None:
    environ = {"OWN": str(certificates.ca_file)}
    with FaultServer(200, tls=certificates.server.context(client_ca=certificates.ca_file)) as server:

        def asked(pair: Pair | None) -> int:
            own = (str(pair.certificate), str(pair.key), "THE_CERT") if pair else None
            route = Route.to(server.url, environ, ca_variables=("OWN",), client_certificate=own)
            return client.send(route, "GET", "/", until=time.monotonic() + 5).status

        assert 200 == asked(certificates.client)
        for pair in (None, certificates.unknown_ca):
            with pytest.raises(AccessDeniedError, match="client certificate") as raised:
                asked(pair)
            assert ("THE_CERT" in (raised.value.hint or "")) is (pair is not None)


@pytest.mark.parametrize(
    ("mode", "code"), [("short-body", 75), ("short-body-ended", 0), ("reset-body", 75), ("close", 75)]
)
def test_the_end_of_a_connection_is_not_the_end_of_a_body(
    client: Client, certificates: Certificates, mode: Any, code: int
) -> None:
    environ = {"VAULT_CACERT": str(certificates.ca_file)}
    with FaultServer(mode, tls=certificates.server.context()) as server:
        if code:
            assert code == failure(client, server.url, environ=environ).exit_code
        else:
            assert isinstance(send(client, server.url, environ=environ).failure(), IntegrityError)


# -- proxies and names --------------------------------------------------------------------------------


def test_a_proxy_gets_decoded_credentials_and_no_request(client: Client, certificates: Certificates) -> None:
    pair = certificates.issue("vault-example", "vault.example")
    with (
        FaultServer(200, tls=pair.context()) as server,
        ConnectProxy(routes={"vault.example": server.port}) as proxy,
    ):
        environ = {
            "VAULT_CACERT": str(certificates.ca_file),
            "HTTPS_PROXY": proxy.url.replace("//", "//us%20er:p%40ss%3Aw@"),
        }
        for _ in range(2):
            assert (
                200 == send(client, "https://vault.example", environ=environ, headers={"X": "s3cr3t"}).status
            )
        assert ["vault.example:443"] == proxy.targets
        assert "Basic dXMgZXI6cEBzczp3" == proxy.requests[0].headers["proxy-authorization"]
        assert not proxy.saw("s3cr3t")
        assert (2, "vault.example") == (server.count, server.requests[0].headers["host"])
        assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (407, ConfigError, "requires a user and a password"),
        (403, ConfigError, "refuses to connect to Vault"),
        (302, ConfigError, "refuses to connect to Vault"),
        (501, ConfigError, "refuses to connect to Vault"),
        (502, BackendUnavailableError, "the proxy cannot reach Vault"),
    ],
)
def test_a_proxy_that_refuses(client: Client, status: int, kind: type[Exception], words: str) -> None:
    with ConnectProxy(status=status) as proxy:
        error = failure(client, "https://[2001:db8::1]", environ={"https_proxy": proxy.url})
        assert ["[2001:db8::1]:443"] == proxy.targets
    assert (kind, True, True) == (type(error), words in error.message, "https_proxy" in (error.hint or ""))


def test_an_unknown_host_is_that_of_the_service_or_of_the_proxy(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "s3cr3t")

    error = failure(client, f"https://{'a' * 80}.example")
    assert (BackendDownError, "the host name of Vault is unknown") == (type(error), error.message)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for environ, words, variable in (
        ({}, "Vault", "VAULT_ADDR"),
        ({"https_proxy": "http://proxy.example"}, "the proxy", "https_proxy"),
    ):
        error = failure(client, "https://vault.example", environ=environ)
        assert (BackendDownError, f"the host name of {words} is unknown") == (type(error), error.message)
        assert variable in (error.hint or "")


def test_a_refused_connection_can_be_tried_again(client: Client) -> None:
    assert BackendUnavailableError is type(failure(client, f"http://127.0.0.1:{refused_port()}"))


def test_a_metadata_service_has_one_second(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlackHole(connect=True) as mute:
        led(monkeypatch, mute.port)
        route = Route.to("http://169.254.169.254", {}, login=True)
        started = time.monotonic()
        with pytest.raises(BackendUnavailableError):
            client.send(route, "GET", "/", until=time.monotonic() + 20)
        assert time.monotonic() - started < 1 + SLACK


def test_a_probe_opens_a_connection_and_sends_no_request(client: Client, certificates: Certificates) -> None:
    environ = {"OWN": str(certificates.ca_file)}
    with FaultServer(200, tls=certificates.server.context()) as server:
        route = Route.to(server.url, environ, ca_variables=("OWN",))
        assert "h2" == client.probe(route, time.monotonic() + 5, ["h2"])
        assert client.probe(route, time.monotonic() + 5) is None
        assert (0, 2) == (server.count, server.connections)
        with pytest.raises(IntegrityError):
            client.probe(Route.to(server.url, {}), time.monotonic() + 5)


def test_nothing_is_printed_of_headers(
    client: Client,
    certificates: Certificates,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setattr(http.client.HTTPResponse, "debuglevel", 1, raising=False)
    with (
        FaultServer(200, tls=certificates.server.context()) as server,
        ConnectProxy(routes={"sts.googleapis.com": server.port}) as proxy,
    ):
        environ = {"VAULT_CACERT": str(certificates.ca_file), "HTTPS_PROXY": proxy.url}
        send(client, "https://sts.googleapis.com", environ=environ, headers={"X-Token": "s3cr3t"})
    assert ("", "") == capfd.readouterr()


def test_nothing_of_a_request_hangs_on_an_error(client: Client, canary: str) -> None:
    for mode in ("close", "reset-head", "short-body"):
        with FaultServer(mode, canary.encode()) as server:
            error: AstroTokenError | None
            try:
                error = send(client, server.url, headers={"X-Token": "s3cr3t"}).failure()
            except AstroTokenError as raised:
                error = raised.with_traceback(None)
        assert error is not None
        assert [] == appearances("s3cr3t", reachable_text(error)) + appearances(canary, reachable_text(error))
