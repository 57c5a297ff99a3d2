"""The contract of key services, over all of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from astro_token.secrets.registry import open_backend
from astro_token.testing import KeyContract, KeyHarness
from tests.servers.aws_kms import AwsKms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.openbao import OpenBao


def unique() -> str:
    return f"k{uuid.uuid4().hex}"


def surround(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


class TestTransit(KeyContract):
    @pytest.fixture
    def harness(self, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> KeyHarness:
        surround(monkeypatch, {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token})
        mount, one, other = unique(), unique(), unique()
        openbao.api("POST", f"sys/mounts/{mount}", {"type": "transit"})
        for key in (one, other):
            openbao.api("POST", f"{mount}/keys/{key}", {})
        keys = (f"vault-transit:{mount}/{key}" for key in (one, other, unique()))
        return KeyHarness(open_backend("vault-transit"), *keys)


class TestAws(KeyContract):
    @pytest.fixture
    def harness(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyHarness]:
        with AwsKms() as kms:
            surround(monkeypatch, kms.environment())
            keys = (f"aws-kms:{key}" for key in (kms.create_key(), kms.create_key(), uuid.uuid4()))
            yield KeyHarness(open_backend("aws-kms"), *keys)


class TestGcp(KeyContract):
    @pytest.fixture
    def harness(
        self,
        gcp_server: GcpServer,
        certificates: Certificates,
        account: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> KeyHarness:
        environ = {
            "ASTRO_TOKEN_GCP_KMS_ENDPOINT": gcp_server.endpoint,
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        }
        surround(monkeypatch, environ)
        ring = "projects/p1/locations/global/keyRings/r/cryptoKeys"
        one, other = (gcp_server.keys.create(f"{ring}/{unique()}") for _ in range(2))
        keys = (f"gcp-kms:{key}" for key in (one, other, f"{ring}/{unique()}"))
        return KeyHarness(open_backend("gcp-kms"), *keys)

    @pytest.fixture
    def account(
        self,
        gcp_server: GcpServer,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        file = tmp_path_factory.mktemp("account") / "key.json"
        gcp_server.identities.service_account().write(file)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))


class TestAzure(KeyContract):
    @pytest.fixture
    def harness(
        self, azure_server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> KeyHarness:
        azure_server.forget()
        environ = {
            "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{azure_server.port}",
            "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
            "AZURE_AUTHORITY_HOST": azure_server.url,
            "AZURE_TENANT_ID": azure_server.tenant,
            "AZURE_CLIENT_ID": azure_server.client_id,
            "AZURE_CLIENT_SECRET": azure_server.client_secret,
        }
        surround(monkeypatch, environ)
        one, other = unique(), unique()
        for key in (one, other):
            azure_server.put_key(key)
        keys = (f"azure-keys:{azure_server.url}/keys/{key}" for key in (one, other, unique()))
        return KeyHarness(open_backend("azure-keys"), *keys)
