from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from azure.keyvault.keys._shared import http_challenge_cache as of_keys
from azure.keyvault.secrets._shared import http_challenge_cache as of_secrets

from astro_token.secrets.registry import open_backend
from astro_token_backends.azure.key_vault import KeyVault
from astro_token_backends.azure.keys import Keys
from tests.backends.azure.service import CLIENT, environment

if TYPE_CHECKING:
    from tests.servers.azure import AzureServer
    from tests.servers.certificates import Certificates


@pytest.fixture(autouse=True)
def no_challenge_of_another_server() -> None:
    """Clear the SDK's challenges, kept by host and port: a server may get the port of an earlier one."""
    of_keys.clear()
    of_secrets.clear()


@pytest.fixture
def server(
    azure_server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> AzureServer:
    """The server, and its environment without a credential."""
    for name, value in environment(azure_server, certificates).items():
        if name not in CLIENT:
            monkeypatch.setenv(name, value)
    azure_server.forget()
    return azure_server


@pytest.fixture
def principal(server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLIENT:
        monkeypatch.setenv(name, environment(server, certificates)[name])


@pytest.fixture
def backend(server: AzureServer, principal: None) -> KeyVault:
    made = open_backend("azure")
    assert isinstance(made, KeyVault)
    return made


@pytest.fixture
def keys(server: AzureServer, principal: None) -> Keys:
    made = open_backend("azure-keys")
    assert isinstance(made, Keys)
    return made


@pytest.fixture
def name() -> str:
    """The name of a new secret or key."""
    return f"s-{uuid.uuid4().hex}"
