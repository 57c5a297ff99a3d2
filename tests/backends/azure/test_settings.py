"""The host of a reference, and the route to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import ConfigError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend

if TYPE_CHECKING:
    from astro_token.transport.route import Route


def route(ref: str) -> Route:
    parsed = SecretRef.parse(ref)
    backend: Any = open_backend(parsed.scheme)
    made: Route = backend.route(parsed)
    return made


@pytest.mark.parametrize(
    "ref",
    [
        "azure:https://evil.example/secrets/s",
        "azure:https://team.managedhsm.azure.net/secrets/s",
        "azure-keys:https://team.vault.azure.net.example/keys/s",
    ],
)
def test_a_host_outside_the_clouds_has_no_route(ref: str) -> None:
    with pytest.raises(ConfigError, match="not in the domain of an Azure cloud"):
        route(ref)


@pytest.mark.parametrize(
    ("authority", "origin"),
    [
        ("", "https://team.vault.azure.net"),
        ("https://login.microsoftonline.us", "https://team.vault.usgovcloudapi.net"),
        ("login.chinacloudapi.cn/", "https://team.vault.azure.cn"),
    ],
)
def test_a_vaults_name_belongs_to_the_cloud_of_the_login_service(
    authority: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
    assert origin == route("azure-keys:Team/k").address.origin


def test_a_listed_host_and_a_managed_hsm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", "a.example, Vault.Example:8443")
    assert "https://vault.example:8443" == route("azure:https://vault.example:8443/secrets/s").address.origin
    hsm = route("azure-keys:https://team.managedhsm.azure.net/keys/k")
    assert "https://team.managedhsm.azure.net" == hsm.address.origin


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({}, ()),
        ({"SSL_CERT_FILE": "a"}, ("SSL_CERT_FILE",)),
        ({"SSL_CERT_FILE": "a", "REQUESTS_CA_BUNDLE": "b"}, ("REQUESTS_CA_BUNDLE",)),
    ],
)
def test_the_ca_bundle(
    variables: dict[str, str], used: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    trust = route("azure:team/s").trust
    assert trust is not None
    assert used == trust.variables


@pytest.mark.parametrize("proxy", ["https://proxy.example:3128", "socks5://proxy.example:1080"])
def test_a_proxy_that_does_not_speak_http_is_refused(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigError, match="HTTPS_PROXY is not the address of an HTTP proxy"):
        route("azure:team/s")
