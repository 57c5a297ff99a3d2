"""The environment, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.testing import appearances, reachable_text
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.settings import Settings, read_settings
from tests.backends.vault.service import SECONDS, failure, ref
from tests.rows import each_row

if TYPE_CHECKING:
    from tests.servers.faults import Egress


def settings(address: str = "https://vault.example", **environ: str) -> Settings:
    return read_settings({"VAULT_ADDR": address, **environ})


@each_row(
    ("given", "expected"),
    [
        ("https://vault.example.com:8200", "https://vault.example.com:8200"),
        ("https://vault.example.com/", "https://vault.example.com"),
        (" https://10.1.2.3\n", "https://10.1.2.3"),
        ("https://[2001:db8::1]:8200", "https://[2001:db8::1]:8200"),
        ("https://gateway.example/vault/", "https://gateway.example/vault"),
        ("http://localhost:8200", "http://localhost:8200"),
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8200", "http://[::1]:8200"),
    ],
)
def test_an_address_is_taken(given: str, expected: str) -> None:
    assert expected == settings(given).url


@each_row(
    "address",
    [
        "",
        "vault.example.com:8200",
        "http://vault.example.com",
        "http://10.0.0.1:8200",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.",
        "http://127.1",
        "http://0x7f.0.0.1",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::ffff:127.0.0.1]",
        "http://[::2]",
        "http://evil.example#@127.0.0.1",
        "http://127.0.0.1@evil.example",
        "http://evil.example\\@127.0.0.1",
        "https://user:hunter2hunter2hunter2hunter2@vault.example",
        "https://vault.example?token=hunter2hunter2hunter2hunter2",
        "https://vault.example#hunter2hunter2hunter2hunter2",
        "https://vault.example/../x",
        "https://vault.example/a//b",
        "https://vault.example:0",
        "https://vault.example:99999",
        "https://vault.example:port",
        "https://",
        "https:///v1",
        "https://[::1",
        "https://vault exam.ple",
        "https://vault\n.example",
        "https://väult.example",
        "ftp://vault.example",
        "file:///etc/passwd",
        "unix:///run/vault.sock",
        "HTTP://vault.example",
    ],
)
def test_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(address)
    assert caught.value.exit_code == 78
    assert "VAULT_ADDR" in caught.value.message
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    ("path", "base"), [("/v1", ""), ("/v1/", ""), ("/team/v1", "/team"), ("/v1x", "/v1x")]
)
def test_the_version_of_the_api_is_not_a_part_of_the_address(path: str, base: str) -> None:
    assert f"https://vault.example{base}" == settings(f"https://vault.example{path}").url


def test_openbaos_own_variable_for_the_address_is_named() -> None:
    with pytest.raises(ConfigError, match="VAULT_ADDR is not set, and BAO_ADDR is not read"):
        read_settings({"BAO_ADDR": "https://hunter2.example"})


@pytest.mark.parametrize("host", ["vault.example.com", "localhost.evil.example", "192.0.2.1"])
def test_plain_http_to_another_machine_sends_nothing(host: str, egress: Egress) -> None:
    environ = {"VAULT_ADDR": f"http://{host}:{egress.port}", "VAULT_TOKEN": "t", **egress.proxies()}
    vault = KeyValue(VaultClient(environ))
    assert failure(lambda: vault.read(ref("vault:secret/a"), timeout=SECONDS)).exit_code == 78
    assert egress.count == 0


@each_row("value", ["1", "true", "TRUE", "t", "yes", " 1 ", "2"])
def test_the_certificate_is_never_left_unchecked(value: str) -> None:
    with pytest.raises(ConfigError, match="VAULT_SKIP_VERIFY"):
        settings(VAULT_SKIP_VERIFY=value)


@each_row("value", ["", "0", "false", "False", "F"])
def test_to_say_that_it_is_not_left_unchecked_is_fine(value: str) -> None:
    settings(VAULT_SKIP_VERIFY=value)


@each_row("namespace", ["../root", "a/../b", "a//b", "a b", "a\r\nX-Evil: 1", "a%2fb", "."])
def test_a_namespace_that_could_lead_elsewhere_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigError, match="VAULT_NAMESPACE"):
        settings(VAULT_NAMESPACE=namespace)


@pytest.mark.parametrize(("given", "expected"), [("", None), ("/", None), ("a/b/", "a/b"), ("/a", "a")])
def test_a_namespace_may_have_slashes_at_its_ends(given: str, expected: str | None) -> None:
    assert expected == settings(VAULT_NAMESPACE=given).namespace


PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


@each_row(
    ("address", "environ", "expected"),
    [
        ("https://vault.example", PROXY, True),
        ("https://vault.example", {"https_proxy": "http://proxy.example:3128"}, True),
        ("https://vault.example", {"HTTPS_PROXY": "proxy.example:3128"}, True),
        ("https://vault.example", {"HTTP_PROXY": "http://proxy.example:3128"}, False),
        ("https://vault.example", {"ALL_PROXY": "http://proxy.example:3128"}, False),
        ("http://127.0.0.1:8200", {**PROXY, "HTTP_PROXY": "http://proxy.example:3128"}, False),
        ("https://127.0.0.1:8200", PROXY, False),
        ("https://localhost:8200", PROXY, False),
        ("https://vault.example", {**PROXY, "NO_PROXY": "vault.example"}, False),
        ("https://vault.example", {**PROXY, "no_proxy": "other, .example"}, False),
        ("https://vault.example", {**PROXY, "NO_PROXY": "*"}, False),
        ("https://vault.example:8200", {**PROXY, "NO_PROXY": "vault.example:8200"}, False),
        ("https://vault.example:8200", {**PROXY, "NO_PROXY": "vault.example:8201"}, True),
        ("https://notvault.example", {**PROXY, "NO_PROXY": "vault.example"}, True),
        ("https://10.1.2.3", {**PROXY, "NO_PROXY": "10.0.0.0/8"}, False),
        ("https://11.1.2.3", {**PROXY, "NO_PROXY": "10.0.0.0/8,name"}, True),
        ("https://10.1.2.3", {**PROXY, "NO_PROXY": "10.1.2.3"}, False),
    ],
)
def test_a_proxy_is_for_https_and_where_none_is_wanted_there_is_none(
    address: str, environ: dict[str, str], expected: bool
) -> None:
    proxy = settings(address, **environ).route.proxy
    assert ("http://proxy.example:3128" if expected else None) == (proxy and proxy.url)


@pytest.mark.parametrize("proxy", ["socks5://proxy.example", "http://", "http://a b", "http://a/b"])
def test_what_is_no_http_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        settings(HTTPS_PROXY=proxy)


def test_an_error_of_the_settings_holds_no_credential(canary: str) -> None:
    environ = {"VAULT_ADDR": "ftp://x", "VAULT_TOKEN": canary, "VAULT_PASSWORD": canary}
    vault = KeyValue(VaultClient(environ))
    error = failure(lambda: vault.read(ref("vault:secret/a"), timeout=SECONDS))
    assert appearances(canary, reachable_text(error)) == []
    # The frames inside did hold it: the scan would have found them.
    with pytest.raises(ConfigError) as caught:
        read_settings(environ)
    assert appearances(canary, reachable_text(caught.value)) != []
