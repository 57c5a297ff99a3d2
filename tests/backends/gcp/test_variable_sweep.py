"""Each variable of Google Cloud with wrong values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.backends.gcp.test_login import DEPLOYER, GITLAB, login
from tests.backends.sweep import Environments, reader, variables, wrong_results
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

__all__ = ["login"]
# One of each kind: the rest of the sweep is long.
ORDINARY = ("GOOGLE_APPLICATION_CREDENTIALS", "ASTRO_TOKEN_GCP_AUDIENCE")


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
    endpoints = ("STS_ENDPOINT", "IAM_ENDPOINT", "ENDPOINT", "KMS_ENDPOINT", "PM_ENDPOINT")
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


@pytest.mark.parametrize(
    "variable",
    [pytest.param(name, marks=() if name in ORDINARY else pytest.mark.long) for name in variables("gcp")],
)
def test_a_wrong_value_names_its_variable(
    server: GcpServer,
    environments: Environments,
    name: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.put(f"projects/p1/secrets/{name}", b"value")
    wrong = wrong_results(reader(f"gcp:p1/{name}", monkeypatch), environments, variable, tmp_path)
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.parametrize(
    "variable",
    [
        "ASTRO_TOKEN_GCP_PM_ENDPOINT",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("ASTRO_TOKEN_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HTTPS_PROXY")
        ),
    ],
)
def test_a_wrong_value_for_a_parameter_names_its_variable(
    server: GcpServer,
    environments: Environments,
    name: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.parameters.put(f"projects/p1/locations/global/parameters/{name}", "v1", b"value")
    environment = {**environments["a key"], "ASTRO_TOKEN_GCP_PM_ENDPOINT": server.endpoint}
    read = reader(f"gcp-pm:p1/{name}?version=v1", monkeypatch)
    wrong = wrong_results(read, {"a key": environment}, variable, tmp_path, everywhere=())
    assert not wrong, json.dumps(wrong, indent=1)
