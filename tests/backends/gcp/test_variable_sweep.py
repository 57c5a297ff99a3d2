"""Each variable of Google Cloud with wrong values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.backends.gcp.test_login import DEPLOYER, GITLAB, login
from tests.backends.sweep import Environments, variables, wrong_results
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

__all__ = ["login"]

FURTHER = (
    "ASTRO_TOKEN_ID_TOKEN",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "GCE_METADATA_ROOT",
    "GCE_METADATA_TIMEOUT",
    "GOOGLE_API_CERTIFICATE_CONFIG",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "GOOGLE_API_USE_MTLS_ENDPOINT",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GRPC_TRACE",
    "GRPC_VERBOSITY",
    "NO_GCE_CHECK",
    "ASTRO_TOKEN_CA_BUNDLE",
    "HTTPS_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)


@pytest.fixture
def environments(
    login: GcpLogin,
    server: GcpServer,
    certificates: Certificates,
    account: ServiceAccount,
    issuer: Issuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Environments:
    endpoints = ("STS_ENDPOINT", "IAM_ENDPOINT", "ENDPOINT", "KMS_ENDPOINT")
    for name in (*(f"ASTRO_TOKEN_GCP_{each}" for each in endpoints), "ASTRO_TOKEN_CA_BUNDLE"):
        monkeypatch.delenv(name)
    base = {
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        "ASTRO_TOKEN_GCP_ENDPOINT": server.endpoint,
        "ASTRO_TOKEN_GCP_IAM_ENDPOINT": f"127.0.0.1:{login.port}",
        "ASTRO_TOKEN_GCP_STS_ENDPOINT": f"127.0.0.1:{login.port}",
        "GCE_METADATA_HOST": f"127.0.0.1:{refused_port()}",
        "NO_GCE_CHECK": "true",
    }
    trusted = login.trust(issuer, subject=GITLAB, accounts=(DEPLOYER,))
    job = {
        **base,
        "ASTRO_TOKEN_GCP_AUDIENCE": f"https:{trusted}",
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": trusted.removeprefix("//iam.googleapis.com/"),
        "ASTRO_TOKEN_ID_TOKEN": issuer.mint({"sub": GITLAB, "aud": f"https:{trusted}"}),
    }
    key = account.write(tmp_path / "key.json")
    return {
        "nothing": base,
        "a key": {**base, "GOOGLE_APPLICATION_CREDENTIALS": str(key), "GOOGLE_CLOUD_QUOTA_PROJECT": "p1"},
        "a key in the variable": {**base, "GOOGLE_APPLICATION_CREDENTIALS": key.read_text()},
        "a job": job,
        "a job as an account": {**job, "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT": DEPLOYER},
    }


@pytest.mark.parametrize("variable", variables("gcp", *FURTHER))
def test_a_wrong_value_names_its_variable(
    server: GcpServer,
    environments: Environments,
    name: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.put(f"projects/p1/secrets/{name}", b"value")
    wrong = wrong_results(f"gcp:p1/{name}", environments, variable, tmp_path, monkeypatch)
    assert not wrong, json.dumps(wrong, indent=1)
