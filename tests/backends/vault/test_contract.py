"""The contract of all backends, over both versions of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.testing import BackendContract, Harness
from tests.backends.vault import service

if TYPE_CHECKING:
    from astro_token_backends.vault.kv import KeyValue
    from tests.servers.openbao import OpenBao


class TestKv1(BackendContract):
    @pytest.fixture
    def harness(self, bao: OpenBao, vault: KeyValue) -> Harness:
        name = service.unique()

        def store(data: bytes) -> None:
            bao.api("POST", f"kv1/{name}", {"token": data.decode()})

        return Harness(
            vault,
            store=store,
            present=f"vault:kv1/{name}",
            missing="vault:kv1/no/such/secret",
            wrapped=True,
        )


class TestKv2(BackendContract):
    options = ""

    @pytest.fixture
    def harness(self, bao: OpenBao, vault: KeyValue) -> Harness:
        name = service.unique()
        return Harness(
            vault,
            store=lambda data: service.store(bao, name, token=data.decode()),
            present=f"vault:secret/{name}{self.options}",
            missing=f"vault:secret/no/such/secret{self.options}",
            writable=f"vault:secret/{service.unique()}/b{self.options}",
            wrapped=True,
        )


class TestKv2WithoutTheQuestion(TestKv2):
    options = "?kv=2"


class TestKv2InANamespace(BackendContract):
    @pytest.fixture
    def harness(self, bao: OpenBao, vault: KeyValue) -> Harness:
        namespace, name = service.unique("ns"), service.unique()
        bao.api("POST", f"sys/namespaces/{namespace}", {})
        mount = service.mount(bao, "2", "team/kv", namespace)

        def store(data: bytes) -> None:
            body = {"data": {"token": data.decode()}}
            bao.api("POST", f"{mount}/data/{name}", body, namespace=namespace)

        return Harness(
            vault,
            store=store,
            present=f"vault:{mount}/{name}?namespace={namespace}",
            missing=f"vault:{mount}/no/such/secret?namespace={namespace}",
            writable=f"vault:{mount}/{service.unique()}/b?namespace={namespace}/",
            wrapped=True,
        )
