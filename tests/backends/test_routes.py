"""All backends and Astro's API take the same route in the same environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.astro_api.address import api_route
from astro_token.errors import AstroTokenError, ConfigError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astro_token.transport.route import Route
    from tests.servers.certificates import Certificates

# One ordinary host; `10.0.0.5` and the IPv6 addresses are only dialled by services that accept them.
HOST = "service.example.com"
PROXY = "http://proxy.example.com:3128"


def _backend(reference: str, **environ: str) -> Callable[[pytest.MonkeyPatch], Route]:
    def route(monkeypatch: pytest.MonkeyPatch) -> Route:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        backend: Any = open_backend(SecretRef.parse(reference).scheme)
        result: Route = backend.route(SecretRef.parse(reference))
        return result

    return route


def routes(host: str) -> dict[str, Callable[[pytest.MonkeyPatch], Route]]:
    """Every service at a host, by name."""
    url = f"https://{host}"
    aws = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x" * 40}
    aws["AWS_REGION"] = "eu-west-1"
    every: dict[str, Callable[[pytest.MonkeyPatch], Route]] = {
        "vault": _backend("vault:secret/a", VAULT_ADDR=url, VAULT_TOKEN="hvs.x"),
        "vault-transit": _backend("vault-transit:key", VAULT_ADDR=url, VAULT_TOKEN="hvs.x"),
        "aws": _backend("aws:a", AWS_ENDPOINT_URL_SECRETS_MANAGER=url, **aws),
        "aws-ssm": _backend("aws-ssm:/a", AWS_ENDPOINT_URL_SSM=url, **aws),
        "aws-kms": _backend("aws-kms:alias/a", AWS_ENDPOINT_URL_KMS=url, **aws),
        "gcp": _backend("gcp:project/a", ASTRO_TOKEN_GCP_ENDPOINT=f"{host}:443"),
        "gcp-pm": _backend("gcp-pm:project/a?version=1", ASTRO_TOKEN_GCP_PM_ENDPOINT=f"{host}:443"),
        "gcp-kms": _backend(
            "gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k",
            ASTRO_TOKEN_GCP_KMS_ENDPOINT=f"{host}:443",
        ),
        "Astro API": lambda monkeypatch: _set(monkeypatch, "ASTRO_TOKEN_API_URL", url, api_route),
    }
    if "[" not in host:  # Key Vault's hosts are names
        every["azure"] = _backend(f"azure:{url}/secrets/a", ASTRO_TOKEN_AZURE_HOSTS=host)
        every["azure-keys"] = _backend(f"azure-keys:{url}/keys/a", ASTRO_TOKEN_AZURE_HOSTS=host)
    return every


def _set(monkeypatch: pytest.MonkeyPatch, name: str, value: str, route: Callable[[Any], Route]) -> Route:
    monkeypatch.setenv(name, value)
    return route(os.environ)


SERVICES = tuple(routes(HOST))
ADDRESSES = ("10.0.0.5", "[2001:db8::5]", "[fe80::5%25eth0]")


def proxy(route: Route) -> tuple[str, int, str | None] | None:
    return (route.proxy.host, route.proxy.port, route.proxy.authorization) if route.proxy else None


VIA = ("proxy.example.com", 3128, None)
PROXIES = [
    ({}, None),
    ({"HTTPS_PROXY": PROXY}, VIA),
    ({"https_proxy": PROXY}, VIA),
    ({"HTTPS_PROXY": PROXY, "https_proxy": "http://other.example.com"}, VIA),
    ({"HTTPS_PROXY": "", "https_proxy": PROXY}, VIA),
    ({"HTTPS_PROXY": f" {PROXY}/\r\n"}, VIA),
    ({"HTTPS_PROXY": "proxy.example.com:3128"}, VIA),
    (
        {"HTTPS_PROXY": "http://us%20er:p%40ss%3Aw@proxy.example.com:3128"},
        (*VIA[:2], "Basic dXMgZXI6cEBzczp3"),
    ),
    ({"HTTPS_PROXY": "http://[2001:db8::1]:8080"}, ("2001:db8::1", 8080, None)),
    ({"HTTPS_PROXY": "http://[fe80::1%25eth0]:8080"}, ("fe80::1%eth0", 8080, None)),
    ({"ALL_PROXY": PROXY, "all_proxy": PROXY, "HTTP_PROXY": PROXY, "http_proxy": PROXY}, None),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other, example.com"}, None),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".example.com"}, None),
    ({"HTTPS_PROXY": PROXY, "no_proxy": "*.example.com"}, None),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "service.example.com:443"}, None),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "service.example.com:8443"}, VIA),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "vice.example.com,10.0.0.0/8"}, VIA),
    ({"HTTPS_PROXY": PROXY, "NO_PROXY": "", "no_proxy": "example.com"}, None),
]


@each_row("service", SERVICES)
@each_row(("environ", "expected"), PROXIES, ids=str)
def test_every_service_takes_the_same_proxy(
    service: str, environ: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert expected == proxy(routes(HOST)[service](monkeypatch))


@each_row("no_proxy", ["10.0.0.0/8,2001:db8::/32,fe80::/10", "10.0.0.5,[2001:db8::5],fe80::5"])
@each_row("host", ADDRESSES)
def test_addresses_and_networks_of_no_proxy_are_direct(
    host: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = routes(host)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    proxied = {name: _accepted(service, monkeypatch) for name, service in services.items()}
    monkeypatch.setenv("NO_PROXY", no_proxy)
    direct = {name: _accepted(service, monkeypatch) for name, service in services.items()}
    accepting = {name for name, route in proxied.items() if route}
    assert {"vault", "Astro API"} <= accepting
    assert {VIA} == {proxy(route) for route in proxied.values() if route}
    assert {None} == {proxy(route) for route in direct.values() if route}


def _accepted(
    service: Callable[[pytest.MonkeyPatch], Route], monkeypatch: pytest.MonkeyPatch
) -> Route | None:
    try:
        return service(monkeypatch)
    except AstroTokenError:  # the service's own rules for hosts are narrower
        return None


@each_row(("service", "variable"), [*((name, "HTTPS_PROXY") for name in SERVICES), ("vault", "https_proxy")])
@each_row(
    "value",
    [
        "https://proxy.example.com",
        "socks5://proxy.example.com:1080",
        "http://user:pass#word@proxy.example.com:3128",
        "http://proxy.example.com:port",
        "http://proxy.example.com:99999",
        "http://2001:db8::1:3128",
        '"http://proxy.example.com:3128"',
        "http://proxy.example.com:3128/path",
        "http://pro xy.example.com",
        "http://proxy.example.com\nhttp://other.example.com",
    ],
)
def test_a_value_that_is_not_an_http_proxy_is_refused_by_every_service(
    service: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as raised:
        routes(HOST)[service](monkeypatch)
    assert raised.value.exit_code == 78
    assert variable in raised.value.message
    assert "pass" not in f"{raised.value.message} {raised.value.hint}".replace("PASSWORD", "")


def test_every_service_trusts_the_same_certificates(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = certificates.ca_file.read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ca)
    odd = tmp_path / "odd.pem"
    odd.write_bytes(b"\xef\xbb\xbf# Autorit\xe9\r\n" + ca.replace(b"\n", b"\r\n"))
    for environ in (
        {"SSL_CERT_FILE": str(odd)},
        {"SSL_CERT_DIR": str(folder)},
        {"SSL_CERT_FILE": f"{odd}\n"},
        {"SSL_CERT_FILE": str(odd), "ASTRO_TOKEN_CA_BUNDLE": str(odd)},
    ):
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            trusted = set()
            for route in routes(HOST).values():
                trust = route(patch).trust
                assert trust is not None
                trusted.add(trust.pem().replace(b"\r", b"").strip())
        assert 1 == len(trusted)
        assert ca.strip() in next(iter(trusted))


OWN = {
    "vault": "VAULT_CACERT",
    "aws": "AWS_CA_BUNDLE",
    "azure": "REQUESTS_CA_BUNDLE",
    "gcp": "REQUESTS_CA_BUNDLE",
}


@pytest.mark.parametrize(("service", "variable"), OWN.items())
def test_the_service_s_own_variable_comes_first(
    service: str,
    variable: str,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, str(certificates.ca_file))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    trust = routes(HOST)[service](monkeypatch).trust
    assert trust is not None
    assert trust.pem().strip() == certificates.ca_file.read_bytes().strip()


@each_row("service", SERVICES)
@each_row("variable", ["SSL_CERT_FILE", "ASTRO_TOKEN_CA_BUNDLE"])
@each_row("fault", ["missing", "empty", "folder", "text"])
def test_a_ca_file_that_cannot_be_used_is_refused_by_every_service(
    service: str, variable: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if fault == "folder":
        file.mkdir()
    elif fault != "missing":
        file.write_text("" if fault == "empty" else "no certificate")
    monkeypatch.setenv(variable, str(file))

    def use() -> None:
        trust = routes(HOST)[service](monkeypatch).trust
        assert trust is not None
        trust.context()

    with pytest.raises(ConfigError) as raised:
        use()
    assert (78, True) == (raised.value.exit_code, variable in raised.value.message)
