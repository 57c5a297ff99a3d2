"""A service of ours, and a service account's key to it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from astro_token.secrets.registry import open_backend
from astro_token_backends.gcp.kms import KMS
from astro_token_backends.gcp.parameter_manager import ParameterManager
from astro_token_backends.gcp.secret_manager import SecretManager

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount


@pytest.fixture(scope="session")
def account(gcp_server: GcpServer) -> ServiceAccount:
    return gcp_server.identities.service_account()


@pytest.fixture
def key_file(account: ServiceAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = account.write(tmp_path / "key.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


@pytest.fixture
def server(gcp_server: GcpServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> GcpServer:
    """It is where the environment says; there is no credential yet."""
    monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", gcp_server.endpoint)
    monkeypatch.setenv("ASTRO_TOKEN_GCP_KMS_ENDPOINT", gcp_server.endpoint)
    monkeypatch.setenv("ASTRO_TOKEN_GCP_PM_ENDPOINT", gcp_server.endpoint)
    monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
    gcp_server.forget()  # of what tests asked it that got it in another way
    return gcp_server


@pytest.fixture
def backend(server: GcpServer, key_file: Path) -> SecretManager:
    made = open_backend("gcp")
    assert isinstance(made, SecretManager)
    return made


@pytest.fixture
def parameters(server: GcpServer, key_file: Path) -> ParameterManager:
    made = open_backend("gcp-pm")
    assert isinstance(made, ParameterManager)
    return made


@pytest.fixture
def kms(server: GcpServer, key_file: Path) -> KMS:
    made = open_backend("gcp-kms")
    assert isinstance(made, KMS)
    return made


@pytest.fixture
def name() -> str:
    """Of a secret of the test's own, short."""
    return f"s-{uuid.uuid4().hex}"


@pytest.fixture
def key(gcp_server: GcpServer) -> str:
    """A key of the test's own."""
    return gcp_server.keys.create(
        f"projects/p1/locations/europe-west1/keyRings/r/cryptoKeys/k-{uuid.uuid4().hex}"
    )
