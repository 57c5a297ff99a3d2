"""Where a connection may go, by which proxy, whom it trusts, and what it means that it failed."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendDownError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
)
from astro_token.testing import appearances, reachable_text
from astro_token.transport.network import (
    checked_address,
    connection_failure,
    extra_authorities,
    is_loopback,
    proxy_for,
    seconds_to_wait,
    tls_context,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates

PROXY = "http://proxy.example:3128"


# -- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("127.0.0.1.example", False),
        ("localhost.example", False),
        ("", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
    ],
)
def test_loopback_is_told_by_the_whole_host(host: str, loopback: bool) -> None:
    assert loopback is is_loopback(host)


@pytest.mark.parametrize(
    "url",
    [
        "https://vault.example",
        "https://vault.example:8200/v1?x=y",
        "https://[2001:db8::1]:8200",
        "http://127.0.0.1:8200",
        "http://[::1]:8200/a",
        "http://metadata.example/x",
    ],
)
def test_https_is_fine_and_http_to_this_machine_and_to_those_named(url: str) -> None:
    assert url == checked_address(url, "X", plain={"metadata.example"}).geturl()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "vault.example",
        "http://vault.example",
        "http://127.0.0.1.example",
        "http://metadata.example.evil",
        "ftp://127.0.0.1",
        "https://",
        "https://user:s3cr3t@vault.example",
        "http://127.0.0.1@vault.example",
        "https://vault.example:0",
        "https://vault.example:99999",
        "https://vault.example:x",
        "https://[::1",
        "https://vault.example/\r\nX: 1",
        "https://vault.example/a b",
        "https://väult.example",
        "file:///etc/passwd",
    ],
)
def test_any_other_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked_address(url, "THE_VARIABLE", plain={"metadata.example"})
    assert "THE_VARIABLE" in raised.value.message
    assert "s3cr3t" not in f"{raised.value.message} {raised.value.hint}"


# -- proxies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY}, PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.org"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "vault.example"}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a, .example ,b"}, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, None),
    ],
)
def test_a_proxy_is_for_https_and_has_exceptions(environ: dict[str, str], proxy: str | None) -> None:
    assert proxy == proxy_for(urlsplit("https://vault.example:8200/v1"), environ)


@pytest.mark.parametrize(
    ("network", "direct"), [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.2.0.0/16", False)]
)
def test_an_exception_may_be_a_network(network: str, direct: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": network}
    assert (None if direct else PROXY) == proxy_for(urlsplit("https://10.1.2.3"), environ)


def test_this_machine_needs_no_proxy() -> None:
    assert proxy_for(urlsplit("https://127.0.0.1:8200"), {"HTTPS_PROXY": PROXY}) is None


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://127.0.0.1:1/path", "a b", "http://"])
def test_a_proxy_that_is_none_is_a_mistake(proxy: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        proxy_for(urlsplit("https://vault.example"), {"HTTPS_PROXY": proxy})


# -- trust ------------------------------------------------------------------------------------------


def test_authorities_are_added_and_keys_of_sessions_written_nowhere(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context({"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)})
    assert 1 == len(context.get_ca_certs())
    assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)
    assert not context.keylog_filename
    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version
    assert [] == tls_context({}).get_ca_certs()


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff\xfe"])
def test_a_bundle_that_is_none_is_a_mistake(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="ASTRO_TOKEN_CA_BUNDLE"):
        extra_authorities({"ASTRO_TOKEN_CA_BUNDLE": str(file)})


# -- failures ---------------------------------------------------------------------------------------


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] s3cr3t")
    error.verify_code = code
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectionRefusedError(111, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (ConnectionResetError(104, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (TimeoutError("s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (ssl.SSLEOFError(8, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (ssl.SSLZeroReturnError(6, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (socket.gaierror(socket.EAI_NONAME, "s3cr3t"), BackendDownError, "host name"),
        (socket.gaierror(socket.EAI_AGAIN, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (UnicodeError("s3cr3t"), BackendDownError, "host name"),
        (certificate(10), IntegrityError, "has expired"),
        (certificate(9), IntegrityError, "is not valid yet"),
        (certificate(62), IntegrityError, "is for another host"),
        (certificate(19), IntegrityError, "is not trusted"),
        (alert("WRONG_VERSION_NUMBER"), IntegrityError, "could not be checked"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), AccessDeniedError, "client certificate"),
        (OSError("Tunnel connection failed: 403 s3cr3t"), ConfigError, "does not lead to the place"),
        (OSError("Tunnel connection failed: 407 s3cr3t"), ConfigError, "wants a user"),
        (OSError("Tunnel connection failed: 503 s3cr3t"), BackendUnavailableError, "cannot be reached"),
    ],
)
def test_a_failure_is_told_by_its_kind_however_deep_it_lies(
    error: Exception, kind: type[Exception], words: str
) -> None:
    wrapped = RuntimeError(RuntimeError("outer", error))
    chained = RuntimeError("outer")
    chained.__context__ = error
    for one in (error, wrapped, chained):
        failure = connection_failure(one, "the place")
        assert (kind, True) == (type(failure), words in failure.message)
        assert [] == appearances("s3cr3t", reachable_text(failure))


# -- waiting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        ("999999999", 86400.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_a_wait_is_a_number_of_seconds(said: str, seconds: float | None) -> None:
    assert seconds == seconds_to_wait({"Retry-After": said})
    assert seconds_to_wait({}) is None


def test_a_wait_until_a_date_is_counted_by_the_clock_that_set_it() -> None:
    there = datetime(2001, 1, 1, tzinfo=UTC)
    headers = {"Date": format_datetime(there, usegmt=True)}
    for ahead, seconds in ((30, 30.0), (-30, 0.0), (10**8, 86400.0)):
        said = format_datetime(there + timedelta(seconds=ahead), usegmt=True)
        assert seconds == seconds_to_wait({**headers, "Retry-After": said})
