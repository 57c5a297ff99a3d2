"""The meaning of an exception of the network and of `Retry-After`."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from astro_token.errors import (
    AccessDeniedError,
    BackendDownError,
    BackendUnavailableError,
    InputOutputError,
    IntegrityError,
    SecretNotFoundError,
)
from astro_token.testing import appearances, reachable_text
from astro_token.transport.failure import connection_failure, seconds_to_wait, timestamp
from astro_token.transport.route import Route
from tests.rows import each_row

ROUTE = Route.to("https://vault.example", {}, service="Vault", variable="VAULT_ADDR")


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] s3cr3t")
    error.verify_code = code
    return error


def reason(name: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {name}] s3cr3t")
    error.reason = name
    return error


@each_row(
    ("error", "kind", "words"),
    [
        (ConnectionRefusedError(111, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (ConnectionResetError(104, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (http.client.RemoteDisconnected("s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (TimeoutError("s3cr3t"), BackendUnavailableError, "did not answer in time"),
        (ssl.SSLEOFError(8, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (ssl.SSLZeroReturnError(6, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (socket.gaierror(socket.EAI_NONAME, "s3cr3t"), BackendDownError, "host name of Vault"),
        (socket.gaierror(socket.EAI_AGAIN, "s3cr3t"), BackendUnavailableError, "cannot be reached"),
        (OSError(errno.EPERM, "s3cr3t"), BackendDownError, "does not allow connections to Vault"),
        (OSError(errno.EACCES, "s3cr3t"), BackendDownError, "does not allow connections to Vault"),
        (OSError(errno.EMFILE, "s3cr3t"), InputOutputError, "cannot open any more"),
        (http.client.BadStatusLine("s3cr3t"), IntegrityError, "does not come from Vault"),
        (http.client.LineTooLong("s3cr3t"), IntegrityError, "does not come from Vault"),
        (certificate(10), IntegrityError, "has expired"),
        (certificate(9), IntegrityError, "is not valid yet"),
        (certificate(62), IntegrityError, "is for another host"),
        (certificate(19), IntegrityError, "is not trusted"),
        (reason("WRONG_VERSION_NUMBER"), IntegrityError, "does not use TLS on this port"),
        (reason("HTTP_REQUEST"), IntegrityError, "does not use TLS on this port"),
        (reason("UNSUPPORTED_PROTOCOL"), IntegrityError, "TLS 1.2"),
        (reason("BAD_SIGNATURE"), IntegrityError, "no secure connection to Vault"),
        (reason("TLSV13_ALERT_CERTIFICATE_REQUIRED"), AccessDeniedError, "client certificate"),
        (SecretNotFoundError("ours"), SecretNotFoundError, "ours"),
    ],
)
def test_a_failure_is_told_by_its_kind_however_deep_it_lies(
    error: Exception, kind: type[Exception], words: str
) -> None:
    wrapped = RuntimeError(RuntimeError("outer", error))
    chained = RuntimeError("outer")
    chained.__context__ = error
    for given in (error, wrapped, chained):
        failure = connection_failure(given, ROUTE)
        assert (kind, True) == (type(failure), words in failure.message)
        assert [] == appearances("s3cr3t", reachable_text(failure))
        assert "{" not in (failure.hint or "")


@each_row(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0000000007", 7.0),
        ("123456", 86400.0),
        ("999999999", 86400.0),
        ("9" * 5000, 86400.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("1e3", None),
        ("inf", None),
        ("٣", None),
        ("Mon, 23 Nov 2026 12:00:30 +999999999", None),
        ("Fri, 99 Feb 2001 00:00:00 GMT", None),
    ],
)
def test_a_wait_is_a_number_of_seconds(value: str, seconds: float | None) -> None:
    assert seconds == seconds_to_wait({"Retry-After": value})
    assert seconds_to_wait({}) is None


def test_a_wait_until_a_date_is_counted_by_the_clock_that_set_it() -> None:
    there = datetime(2001, 1, 1, tzinfo=UTC)
    for ahead, seconds in ((30, 30.0), (-30, 0.0), (10**8, 86400.0)):
        value = format_datetime(there + timedelta(seconds=ahead), usegmt=True)
        assert seconds == seconds_to_wait({"Date": format_datetime(there, usegmt=True), "Retry-After": value})
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (seconds_to_wait({"Retry-After": soon}) or 0) <= 100


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2001 00:00:00 -0000", "Mon Jan  1 00:00:00 2001"])
def test_a_date_without_a_zone_is_in_utc(date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert 978307200.0 == timestamp(date)
        later = "Mon, 01 Jan 2001 00:00:30 GMT"
        assert 30.0 == seconds_to_wait({"Date": date, "Retry-After": later})
        assert 0.0 == seconds_to_wait({"Date": later, "Retry-After": date})
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_connection_through_a_proxy_that_fails_names_the_proxy_s_variable() -> None:
    route = Route.to("https://vault.example.com", {"HTTPS_PROXY": "http://127.0.0.1:9"}, service="Vault")
    failure = connection_failure(ConnectionRefusedError(), route)
    assert (
        failure.message
        == "Vault cannot be reached, or ended the connection, through the proxy of HTTPS_PROXY"
    )
    assert str(failure.hint).startswith("check HTTPS_PROXY, ")
