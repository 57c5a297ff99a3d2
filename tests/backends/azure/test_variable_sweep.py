"""Each variable of Azure with wrong values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.backends.azure.service import CLIENT, environment, ref
from tests.backends.azure.test_login import client_certificate
from tests.backends.sweep import Environments, reader, variables, wrong_results
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

# The name of a network's own service, or of another tenant or application.
ELSEWHERE = ("AZURE_AUTHORITY_HOST", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
# One of each kind: the rest of the sweep is long.
ORDINARY = ("AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_TENANT_ID")


@pytest.fixture
def environments(
    server: AzureServer,
    certificates: Certificates,
    issuer: Issuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Environments:
    for name in environment(server, certificates):
        monkeypatch.delenv(name, raising=False)
    base = {
        name: value for name, value in environment(server, certificates).items() if name not in CLIENT
    } | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{refused_port()}"}
    application = {"AZURE_TENANT_ID": server.tenant, "AZURE_CLIENT_ID": server.client_id}
    audience = "api://AzureADTokenExchange"
    server.trust(issuer, subject="sweep")
    token = issuer.mint({"sub": "sweep", "aud": audience})
    (tmp_path / "token").write_text(token)
    server.directory.trust_certificate(client_certificate(tmp_path / "client.pem").read_bytes())
    return {
        "nothing": base,
        "a secret": {**base, **application, "AZURE_CLIENT_SECRET": server.client_secret},
        "a certificate": {
            **base,
            **application,
            "AZURE_CLIENT_CERTIFICATE_PATH": str(tmp_path / "client.pem"),
            "AZURE_CLIENT_CERTIFICATE_PASSWORD": "",
        },
        "a pod": {**base, **application, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")},
        "a job": {
            **base,
            **application,
            "ASTRO_TOKEN_ID_TOKEN": token,
            "ASTRO_TOKEN_AZURE_AUDIENCE": audience,
        },
        "a service connection": {
            **base,
            "AZURESUBSCRIPTION_TENANT_ID": server.tenant,
            "AZURESUBSCRIPTION_CLIENT_ID": server.client_id,
            "ASTRO_TOKEN_ID_TOKEN": token,
        },
        "a managed identity": {
            **base,
            "AZURE_CLIENT_ID": server.machine_id,
            "IDENTITY_ENDPOINT": server.identity_endpoint,
            "IDENTITY_HEADER": server.identity_header,
        },
        "a machine": {**base, "AZURE_POD_IDENTITY_AUTHORITY_HOST": server.identity_url},
    }


@pytest.mark.parametrize(
    "variable",
    [pytest.param(name, marks=() if name in ORDINARY else pytest.mark.long) for name in variables("azure")],
)
def test_a_wrong_value_names_its_variable(
    server: AzureServer,
    environments: Environments,
    name: str,
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.put(name, "value")
    call = reader(ref(server, name), monkeypatch)
    wrong = wrong_results(call, environments, variable, tmp_path, elsewhere=ELSEWHERE)
    assert not wrong, json.dumps(wrong, indent=1)
