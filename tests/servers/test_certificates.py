"""Good certificates are accepted, and each bad one is refused for its own reason."""

from __future__ import annotations

import socket
import ssl
import stat
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from tests.servers.certificates import Certificates, Pair


def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "127.0.0.1") -> str:
    """The version of TLS on which the two agreed, after one request."""
    with (
        HttpServer(lambda _: Answer(), tls=server) as listener,
        socket.create_connection(("127.0.0.1", listener.port), 30) as plain,
        client.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        return connection.version() or ""


@pytest.fixture
def client(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates.ca_file)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "team.vault.azure.net", "secretmanager.googleapis.com"]
)
def test_the_good_certificate_is_accepted(
    certificates: Certificates, client: ssl.SSLContext, host: str
) -> None:
    assert shake(certificates.server.context(), client, host) == "TLSv1.3"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("self_signed", "self-signed certificate"),
        ("unknown_ca", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_host", "IP address mismatch"),
    ],
)
def test_a_bad_certificate_is_refused(
    certificates: Certificates, client: ssl.SSLContext, kind: str, reason: str
) -> None:
    pair: Pair = getattr(certificates, kind)
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake(pair.context(), client)


def test_a_self_signed_certificate_is_bad_only_for_its_signature(certificates: Certificates) -> None:
    client = ssl.create_default_context(cafile=certificates.self_signed.certificate)
    assert shake(certificates.self_signed.context(), client) == "TLSv1.3"


def test_nobody_else_trusts_our_authority(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(certificates.server.context(), ssl.create_default_context())


def test_a_client_without_a_certificate_is_refused_where_one_is_demanded(
    certificates: Certificates, client: ssl.SSLContext
) -> None:
    server = certificates.server.context(client_ca=certificates.ca_file)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # which tells before the handshake is over
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        shake(server, client)
    client.load_cert_chain(certificates.client.certificate, certificates.client.key)
    assert shake(server, client) == "TLSv1.2"


def test_an_ancient_server_speaks_no_more_than_tls_1_1(
    certificates: Certificates, client: ssl.SSLContext
) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|unsupported.protocol"):
        shake(certificates.server.context(ancient=True), client)
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1
    assert shake(certificates.server.context(ancient=True), client) == "TLSv1.1"


def test_keys_are_for_their_owner_only(certificates: Certificates) -> None:
    assert stat.S_IMODE(certificates.server.key.stat().st_mode) == 0o600
