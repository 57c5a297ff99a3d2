"""A job's credential goes to its own service only; damaged, late and missing responses are told apart."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.identity import ci_identity
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.testing import make_token
from tests.identity.cases import AUDIENCE, claims, failure
from tests.rows import each_row
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import BlackHole, ConnectProxy, Egress, FaultServer, refused_port
from tests.servers.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

SYSTEMS = ("github", "azure-pipelines", "google")
NAME = "run-actions.example"


@pytest.fixture
def bearer() -> str:
    return f"job-{make_token()}"


def led_to(url: str, bearer: str, system: str = "github") -> dict[str, str]:
    """Return the environment of a job with its system at this address."""
    return {
        "github": {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/10//idtoken/a/b?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": bearer,
        },
        "azure-pipelines": {"SYSTEM_OIDCREQUESTURI": f"{url}/oidctoken", "SYSTEM_ACCESSTOKEN": bearer},
        "google": {"BUILDER_OUTPUT": "/builder/outputs", "GCE_METADATA_HOST": url.removeprefix("http://")},
    }[system]


def good(issuer: Issuer, system: str = "github") -> bytes:
    return answered(issuer.mint({"aud": AUDIENCE}), system)


def answered(token: str, system: str) -> bytes:
    member = {"github": "value", "azure-pipelines": "oidcToken"}.get(system)
    return json.dumps({member: token, "count": 1}).encode() if member else token.encode()


# -- responses ----------------------------------------------------------------------------------------

DAMAGED = (
    "short-body",
    "cut-json",
    "empty",
    "html",
    "not-json",
    "wrong-charset",
    "json-array",
    "json-null",
    "json-int",
    "json-nested",
    "huge",
    "gzip-bomb",
)
BROKEN = ("reset", "reset-head", "reset-body", "close")
FAULTS: dict[str | int, type[AstroTokenError]] = {
    **dict.fromkeys(DAMAGED, IntegrityError),
    **dict.fromkeys(BROKEN, BackendUnavailableError),
    **dict.fromkeys((201, 203, 204, 206, 300, 301, 304), IntegrityError),
    **dict.fromkeys((400, 401, 403, 404, 405, 410, 422, 451), AccessDeniedError),
    **dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 520), BackendUnavailableError),
    **dict.fromkeys((501, 505, 511), BackendDownError),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_fault_has_its_error(system: str, bearer: str, issuer: Issuer) -> None:
    token = issuer.mint({"aud": AUDIENCE})
    body = answered(token, system)
    kinds = {}
    for fault in FAULTS:
        with FaultServer(fault, body, size=1 << 22) as server:
            # A token cut off at its end has still the form of one: there the length tells.
            error = failure(led_to(server.url, bearer, system), canaries=[bearer, token])
            kinds[fault] = type(error)
            assert server.count == 1
    assert kinds == FAULTS


def test_the_controls_for_the_faults_are_good(bearer: str, issuer: Issuer) -> None:
    for system in SYSTEMS[:2]:
        with FaultServer(200, good(issuer, system)) as server:
            token = ci_identity(AUDIENCE, environ=led_to(server.url, bearer, system), timeout=5)
            assert claims(token)["aud"] == AUDIENCE


@pytest.mark.parametrize(
    "content", [{}, {"value": None}, {"value": 1}, {"value": ["a"]}, {"value": "\ud800.a.b"}]
)
def test_an_answer_without_a_token_is_damaged(content: dict[str, object], bearer: str) -> None:
    with FaultServer(200, json.dumps(content).encode()) as server:
        assert type(failure(led_to(server.url, bearer))) is IntegrityError


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_huge_answer_is_not_read_to_its_end(system: str, bearer: str) -> None:
    with FaultServer("huge", size=1 << 26) as server:
        assert type(failure(led_to(server.url, bearer, system))) is IntegrityError
        server.close()
        assert server.sent < 1 << 24  # what is on its way


def test_a_token_of_no_sensible_size_is_damaged(bearer: str, issuer: Issuer) -> None:
    for size, fine in ((8_000, True), (20_000, False)):
        token = issuer.mint({"aud": AUDIENCE, "more": "a" * size})
        with FaultServer(200, answered(token, "github")) as server:
            environ = led_to(server.url, bearer)
            if fine:
                assert claims(ci_identity(AUDIENCE, environ=environ, timeout=5))["aud"] == AUDIENCE
            else:
                assert type(failure(environ, canaries=[token])) is IntegrityError


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 " + b"a" * 70_000]
)
def test_a_response_that_is_not_http_is_damaged(said: bytes, bearer: str) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with Listener(serve) as listener:
        assert type(failure(led_to(f"http://127.0.0.1:{listener.port}", bearer))) is IntegrityError


def test_a_metadata_server_signs_its_answers(bearer: str, issuer: Issuer) -> None:
    for headers, fine in (
        ({"Metadata-Flavor": "Google"}, True),
        ({"Metadata-Flavor": "x"}, False),
        ({}, False),
    ):
        with FaultServer(200, good(issuer, "google"), headers=headers, content_type="text/html") as server:
            environ = led_to(server.url, bearer, "google")
            if fine:
                assert claims(ci_identity(AUDIENCE, environ=environ, timeout=5))["aud"] == AUDIENCE
            else:
                assert type(failure(environ)) is IntegrityError


@pytest.mark.parametrize(
    ("said", "wait"),
    [("7", 7.0), ("0", 0.0), ("999999999", 86400.0), ("soon", None), ("-1", None), ("٣", None)],
)
def test_retry_after_is_passed_on(said: str, wait: float | None, bearer: str) -> None:
    raw = said.encode().decode("latin-1")
    with FaultServer(503, headers={"Retry-After": raw}) as server:
        error = failure(led_to(server.url, bearer))
    assert isinstance(error, BackendUnavailableError)
    assert error.retry_after == wait


@pytest.mark.parametrize("mode", ["hang", "drip-head", "drip-body"])
def test_a_silent_or_dripping_server_is_left_in_time(mode: str, bearer: str) -> None:
    with FaultServer(mode, drip=0.05) as server:
        assert type(failure(led_to(server.url, bearer), timeout=0.3)) is BackendUnavailableError


@pytest.mark.parametrize("connect", [True, False])
def test_a_black_hole_is_left_in_time(connect: bool, bearer: str) -> None:
    with BlackHole(connect=connect) as hole:
        for system in SYSTEMS:
            error = failure(led_to(hole.url, bearer, system), timeout=0.3)
            assert type(error) is BackendUnavailableError


def test_a_refused_connection_is_tried_again_later(bearer: str) -> None:
    error = failure(led_to(f"http://127.0.0.1:{refused_port()}", bearer))
    assert type(error) is BackendUnavailableError


@pytest.mark.parametrize(
    ("number", "kind"),
    [(socket.EAI_NONAME, BackendDownError), (socket.EAI_AGAIN, BackendUnavailableError)],
)
def test_an_unknown_host_is_told_from_a_resolver_that_is_busy(
    number: int, kind: type[AstroTokenError], bearer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert type(failure(led_to("https://nowhere.example", bearer))) is kind


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_redirect_is_followed(status: int, system: str, bearer: str) -> None:
    with Egress() as elsewhere:
        for target in (f"{elsewhere.url}/token", "/elsewhere"):
            with FaultServer(status, redirect=target) as server:
                assert type(failure(led_to(server.url, bearer, system))) is IntegrityError
                assert server.count == 1
    assert elsewhere.count == 0


@pytest.mark.parametrize(
    "address",
    [
        "http://actions.example",
        "http://127.0.0.1.example",
        "http://localhost.example:80",
        "http://0.0.0.0:1",
        "http://169.254.169.254",
        "http://metadata.google.internal",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:80",
        "https:///elsewhere",
        "https://user@actions.example",
        "https://user:password@127.0.0.1",
        "http://127.0.0.1@actions.example",
        "http://127.0.0.1\\@actions.example",
        "http://127.0.0.1#@actions.example",
        "https://actions.example:0",
        "https://actions.example:x",
        "https://actions.example:99999",
        "https://[::1",
        "https://actions.example/\r\nX-Evil: 1",
        "https://actions.example/ a",
        "https://äctions.example",
    ],
)
@pytest.mark.parametrize("system", SYSTEMS[:2])
def test_an_address_that_would_carry_the_credential_away_is_refused(
    address: str, system: str, bearer: str
) -> None:
    error = failure(led_to(address, bearer, system))
    assert type(error) is ConfigError
    assert address not in error.message + str(error.hint)


@pytest.mark.parametrize(
    "host", ["metadata.example", "10.0.0.1", "user@127.0.0.1", "127.0.0.1.example", "a b"]
)
def test_a_metadata_server_elsewhere_is_refused(host: str, bearer: str) -> None:
    error = failure(led_to(host, bearer, "google"))
    assert (type(error), "GCE_METADATA_HOST" in error.message) == (ConfigError, True)


@each_row("credential", ["a\nb", "a\r\nX-Evil: 1", "a b", "ä", "\udcff"])
def test_a_credential_that_is_no_header_is_refused(credential: str) -> None:
    with FaultServer(200) as server:
        for system, variable in (
            ("github", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
            ("azure-pipelines", "SYSTEM_ACCESSTOKEN"),
        ):
            with pytest.raises(ConfigError, match=variable):
                ci_identity(AUDIENCE, environ=led_to(server.url, credential, system), timeout=5)
    assert server.count == 0


def test_nothing_else_is_sent_along(
    issuer: Issuer, bearer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".netrc").write_text("default login someone password hunter2\n")
    with FaultServer(200, good(issuer), headers={"Set-Cookie": "a=b"}) as server:
        for _ in range(2):
            ci_identity(AUDIENCE, environ=led_to(server.url, f" {bearer}\n"), timeout=5)
    for request in server.requests:
        assert (
            request.target == "/10//idtoken/a/b?api-version=2.0&audience=https%3A%2F%2Fvault.example%2Fteam+a"
        )
        assert request.headers["authorization"] == f"bearer {bearer}"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers.keys() <= {
            "authorization",
            "accept-encoding",
            "connection",
            "host",
            "user-agent",
        }


def test_a_program_that_lets_headers_be_printed_prints_none(
    issuer: Issuer, bearer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    monkeypatch.setattr(http.client.HTTPResponse, "debuglevel", 1, raising=False)
    with FaultServer(200, good(issuer)) as server:
        ci_identity(AUDIENCE, environ=led_to(server.url, bearer), timeout=5)
    assert capsys.readouterr() == ("", "")
    with FaultServer(200) as server:  # the control
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/", headers={"Authorization": bearer})
        connection.close()
    assert bearer in capsys.readouterr().out


# -- TLS and proxies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed", "ancient", "untrusted"]
)
def test_a_bad_certificate_is_refused(name: str, bearer: str, certificates: Certificates) -> None:
    own = {"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)} if name != "untrusted" else {}
    pair = getattr(certificates, name, certificates.server)
    with FaultServer(200, tls=pair.context(ancient=True) if name == "ancient" else pair.context()) as server:
        error = failure(led_to(server.url, bearer) | own)
    assert (type(error), server.count) == (IntegrityError, 0)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("handshake-eof", BackendUnavailableError),
        ("handshake-reset", BackendUnavailableError),
        ("handshake-hang", BackendUnavailableError),
        ("handshake-plain", IntegrityError),
    ],
)
def test_a_broken_handshake_has_its_error(mode: str, kind: type[AstroTokenError], bearer: str) -> None:
    with FaultServer(mode) as server:
        assert type(failure(led_to(server.url, bearer), timeout=0.3 if "hang" in mode else 5)) is kind


def test_an_authority_of_ones_own_is_trusted(
    issuer: Issuer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with CiIdentity(issuer, tls=certificates.server.context()) as server:
        environ = server.environment("github") | {"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)}
        environ |= {"HTTPS_PROXY": f"http://127.0.0.1:{refused_port()}"}  # which loopback addresses go past
        assert claims(ci_identity(AUDIENCE, environ=environ, timeout=5))["aud"] == AUDIENCE
    assert not (tmp_path / "keys").exists()


def test_authorities_that_cannot_be_read_are_an_error(bearer: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    for name in ("text", "missing", "nul\0"):
        environ = led_to("https://127.0.0.1:1", bearer) | {"ASTRO_TOKEN_CA_BUNDLE": str(tmp_path / name)}
        error = failure(environ)
        assert (type(error), "ASTRO_TOKEN_CA_BUNDLE" in error.message) == (ConfigError, True)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_connects_and_learns_nothing(name: str, issuer: Issuer, certificates: Certificates) -> None:
    tls = certificates.issue("run-actions", NAME).context()
    with CiIdentity(issuer, tls=tls) as server, ConnectProxy(routes={NAME: server.port}) as proxy:
        environ = server.environment("github")
        variable = "ACTIONS_ID_TOKEN_REQUEST_URL"
        environ[variable] = environ[variable].replace(f"127.0.0.1:{server.port}", NAME)
        environ |= {"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)}
        for address in (f"http://someone:pass%2Fword@127.0.0.1:{proxy.port}", f"127.0.0.1:{proxy.port}"):
            token = ci_identity(AUDIENCE, environ=environ | {name: address}, timeout=5)
            assert claims(token)["aud"] == AUDIENCE
        assert proxy.targets == [f"{NAME}:443"] * 2
        assert not proxy.saw(server.secret)
        logins = [request.headers.get("proxy-authorization") for request in proxy.requests]
        assert logins == ["Basic c29tZW9uZTpwYXNzL3dvcmQ=", None]
        assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [(407, ConfigError), (403, ConfigError), (502, BackendUnavailableError), (503, BackendUnavailableError)],
)
def test_a_proxy_that_refuses_has_its_error(status: int, kind: type[AstroTokenError], bearer: str) -> None:
    with ConnectProxy(status=status) as proxy:
        environ = led_to(f"https://{NAME}", bearer) | {
            "HTTPS_PROXY": f"http://u:{bearer}@127.0.0.1:{proxy.port}"
        }
        assert type(failure(environ)) is kind
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("exceptions", [NAME, ".example", "*", f"x, {NAME}:443"])
def test_no_proxy_makes_the_connection_direct(
    exceptions: str, bearer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(host: str, *_: object, **__: object) -> None:
        hosts.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no answer")

    hosts: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", fails)
    environ = led_to(f"https://{NAME}", bearer) | {"HTTPS_PROXY": "http://proxy.example:3128"}
    failure(environ)
    failure(environ | {"NO_PROXY": exceptions})
    assert hosts == ["proxy.example", NAME]


@pytest.mark.parametrize(
    "proxy", ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "http://127.0.0.1:1/path", "a b", "http://"]
)
def test_an_invalid_proxy_address_is_an_error(proxy: str, bearer: str) -> None:
    error = failure(led_to(f"https://{NAME}", bearer) | {"HTTPS_PROXY": proxy})
    assert (type(error), "HTTPS_PROXY" in error.message) == (ConfigError, True)
