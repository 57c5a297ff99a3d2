"""The source of the credential, and a login before the first read."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from astro_token_backends.azure.key_vault import KeyVault
from tests.backends.azure.service import environment, ref
from tests.backends.azure.test_login import az, in_the_job, nothing_else, prove
from tests.backends.clouds import logged, source_failure, told
from tests.backends.gcp.calls import failure_of
from tests.servers.azure import AzureServer
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import ConnectProxy
from tests.servers.http1 import HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

__all__ = ["nothing_else"]

LOGIN = "login.microsoftonline.com"


class Cloud:
    """A vault and a login service of the public cloud, by their real names."""

    def __init__(self, server: AzureServer, http: HttpServer, host: str) -> None:
        self.server, self._http, self.ref = server, http, f"azure:https://{host}/secrets/s"
        self.address = f"https://{host}"

    @property
    def seen(self) -> list[str]:
        """The requests in order: `token`, `secret`, or `identity` of the machine."""
        requests = [
            (request.time, "secret" if request.path.startswith("/secrets") else "token")
            for request in self._http.requests
        ]
        requests += [(request.time, "identity") for request in self.server.identity_requests]
        return [what for _, what in sorted(requests)]


@pytest.fixture
def cloud(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with AzureServer(certificates.server.context()) as server:
        for variable, setting in environment(server, certificates).items():
            if variable in {"ASTRO_TOKEN_CA_BUNDLE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"}:
                monkeypatch.setenv(variable, setting)
        # The SDK remembers the challenges of all hosts for as long as it runs.
        host = f"v{uuid.uuid4().hex[:8]}.vault.azure.net"
        with HttpServer(server._answer, tls=certificates.issue(host, host, LOGIN).context()) as http:
            server.put("s", "value")
            monkeypatch.setattr(server, "authority", f"https://{LOGIN}")
            with ConnectProxy(routes=dict.fromkeys((host, LOGIN), http.port)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                yield Cloud(server, http, host)
                open_backend("azure").close()


@pytest.mark.parametrize(
    ("login", "words", "before", "after"),
    [
        ("secret", "AZURE_CLIENT_SECRET", ["token"], ["token", "secret"]),
        (
            "pod",
            "the federated token in {folder}/token (AZURE_FEDERATED_TOKEN_FILE)",
            ["token"],
            ["token", "secret"],
        ),
        (
            "job",
            "the identity token of ASTRO_TOKEN_ID_TOKEN, as the application in AZURE_CLIENT_ID",
            ["token"],
            ["token", "secret"],
        ),
        (
            "environment",
            "the managed identity of IDENTITY_ENDPOINT",
            ["identity"],
            ["identity", "secret", "secret"],
        ),
        (
            "machine",
            "the first of these: the managed identity of this virtual machine",
            ["identity"],
            ["identity", "secret", "secret"],
        ),
        (
            "certificate",
            "the certificate in {folder}/client.pem (AZURE_CLIENT_CERTIFICATE_PATH)",
            ["token", "token"],
            ["token", "token", "secret", "secret"],
        ),
    ],
)
def test_after_the_login_alone_a_read_does_not_log_in_again(
    cloud: Cloud,
    issuer: Issuer,
    tmp_path: Path,
    login: str,
    words: str,
    before: list[str],
    after: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If only the vault tells the tenant, the read requests the challenge, as without a login before."""
    prove(login, cloud.server, issuer, tmp_path, monkeypatch)
    caplog.set_level(logging.DEBUG)
    backend: Any = open_backend("azure")
    expected = words.format(folder=tmp_path)
    assert (cloud.address, expected) == told(backend, cloud.ref)
    assert before == cloud.seen
    assert b"value" == backend.read(SecretRef.parse(cloud.ref), timeout=10).reveal()
    assert after == cloud.seen
    lines = [line for line in logged(caplog).splitlines() if line.startswith("logging in to Azure")]
    assert lines
    assert all(expected in line for line in lines)
    assert [] == appearances(cloud.server.client_secret, logged(caplog))


def test_the_source_of_a_known_way_is_told_without_a_request(
    cloud: Cloud, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Any = open_backend("azure")
    with CiIdentity(issuer) as job:
        in_the_job(monkeypatch, job, "github")
        cloud.server.trust(issuer, subject="repo:acme/dags:ref:refs/heads/main")
        words = "the identity of GitHub Actions, as the application in AZURE_CLIENT_ID"
        assert words == backend.credential_source(SecretRef.parse(cloud.ref), timeout=10)
        assert ([], 1) == (cloud.seen, len(job.requests))
        backend.log_in(SecretRef.parse(cloud.ref), timeout=10)
        assert (["token"], 1) == (cloud.seen, len(job.requests))


def test_the_programs_that_somebody_logged_in_with_are_named(
    cloud: Cloud, nothing_else: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_ID")
    started = az(tmp_path, monkeypatch, cloud.server.issue())
    (tmp_path / "home" / ".azd").mkdir()
    words = "the first of these: the managed identity of this virtual machine, az, azd"
    assert words == told(open_backend("azure"), cloud.ref)[1]
    assert started()


def test_where_nobody_has_logged_in_the_error_is_that_of_the_read(
    cloud: Cloud, nothing_else: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_ID")
    error = source_failure(open_backend("azure"), cloud.ref)
    assert (77, "there is no Azure credential") == (error.exit_code, error.message)


def test_a_credential_that_is_refused_shows_in_the_login(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    backend: Any = open_backend("azure")
    assert "AZURE_CLIENT_SECRET" == backend.credential_source(SecretRef.parse(cloud.ref), timeout=10)
    error = failure_of(lambda: backend.log_in(SecretRef.parse(cloud.ref), timeout=10))
    assert 77 == error.exit_code


def test_a_listed_host_alone_knows_what_to_log_in_to(server: AzureServer, backend: Any, name: str) -> None:
    server.put(name, "value")
    assert (server.url, "AZURE_CLIENT_SECRET") == told(backend, ref(server, name))
    assert [] == server.requests
    assert b"value" == backend.read(SecretRef.parse(ref(server, name)), timeout=10).reveal()


def test_what_is_given_is_said(server: AzureServer) -> None:
    backend = KeyVault(credential=object())
    assert "the injected credential" == told(backend, ref(server, "s"))[1]
