"""Addresses, proxies, and where certificates come from: one rule for every service."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.transport import route as route_module
from astro_token.transport.address import checked_address, is_loopback, is_metadata, parse_address
from astro_token.transport.route import Route
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Mapping

P, Q = "http://proxy.example:3128", "http://other.example:3128"
NAME, DEEP, V4, V6 = (
    "https://vault.example:8200",
    "https://a.vault.example",
    "https://10.1.2.3",
    "https://[2001:db8::1]:8200",
)
ZONE_NAMED = "https://[2001:db8::1%25.vault.example]"
ZONE, ZONE_HERE, HERE = "https://[fe80::1%25eth0]:8200", "https://[::1%25lo]:8200", "https://127.0.0.1:8200"
ALL = (NAME, DEEP, V4, V6, ZONE, ZONE_HERE, HERE, "https://localhost", "https://[::1]")
# An environment, and the addresses that it sends through the proxy.
ENVIRONMENTS: list[tuple[Mapping[str, str], str, tuple[str, ...]]] = [
    ({}, "", ()),
    ({"HTTPS_PROXY": P}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"https_proxy": P}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "https_proxy": Q}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": "", "https_proxy": Q}, Q, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": f" {P}\r\n"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": "proxy.example:3128"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": "HTTP://Proxy.example:3128/"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTP_PROXY": P, "http_proxy": P, "ALL_PROXY": P, "all_proxy": P}, "", ()),
    ({"HTTPS_PROXY": P, "NO_PROXY": "*"}, P, ()),
    ({"HTTPS_PROXY": P, "no_proxy": "a, *\n,b"}, P, ()),
    ({"HTTPS_PROXY": P, "NO_PROXY": "example"}, P, (V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "vault.EXAMPLE"}, P, (V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "ault.example"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": ".vault.example"}, P, (NAME, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "*.vault.example"}, P, (NAME, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "*vault.example,*:8200"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "3,2.3,.1.2.3"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "vault.example:8200"}, P, (DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "vault.example:443"}, P, (NAME, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, P, (NAME, DEEP, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "10.1.2.3/8, 10.0.0.0/99, /"}, P, (NAME, DEEP, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "10.1.2.3:443"}, P, (NAME, DEEP, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "10.1.2.3:80,10.2.0.0/16"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "2001:DB8:0::1"}, P, (NAME, DEEP, V4, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "[2001:db8::1]:8200"}, P, (NAME, DEEP, V4, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "[2001:db8::1]:443"}, P, (NAME, DEEP, V4, V6, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "2001:db8::/32"}, P, (NAME, DEEP, V4, ZONE)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "fe80::/10"}, P, (NAME, DEEP, V4, V6)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "fe80::1%eth0"}, P, (NAME, DEEP, V4, V6)),
    ({"HTTPS_PROXY": P, "NO_PROXY": "vault.example 10.1.2.3"}, P, (NAME, DEEP, V4, V6, ZONE)),
]


@each_row(("environ", "proxy", "proxied"), ENVIRONMENTS, ids=lambda one: str(one)[:70])
def test_the_environment_chooses_the_proxy(
    environ: Mapping[str, str], proxy: str, proxied: tuple[str, ...]
) -> None:
    routes = {url: Route.to(url, environ) for url in ALL}
    assert proxied == tuple(url for url in ALL if routes[url].proxy)
    assert {route.proxy.redacted for route in routes.values() if route.proxy} <= {proxy}


def test_a_zone_is_not_the_name_of_a_host() -> None:
    assert Route.to(ZONE_NAMED, {"HTTPS_PROXY": P, "NO_PROXY": ".vault.example"}).proxy


@each_row(
    "value",
    [
        "socks5://127.0.0.1:1",
        "https://proxy.example:3128",
        "ftp://proxy.example",
        "http://u:s3cr3t#@proxy.example:1",
        "http://u:s3cr3t@proxy.example:99999",
        "http://u:s3cr3t@proxy.example:0",
        "http://u:s3cr3t@proxy.example:x",
        "http://u:s3cr3t@proxy.example:",
        "http://u:s3cr3t%4@proxy.example",
        "http://u:s3cr3t%zz@proxy.example",
        "http://u:sécr3t@proxy.example",
        "2001:db8::1",
        "2001:db8::1:3128",
        "http://[2001:db8::1",
        '"http://proxy.example:3128"',
        "'http://proxy.example:3128'",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?x",
        "http://pro xy",
        "http://",
        "http:/proxy",
        "a b",
        "http://a\nb",
    ],
)
@each_row("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_address_of_no_http_proxy_is_refused_and_not_repeated(value: str, variable: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Route.to(NAME, {variable: value})
    assert (78, True) == (raised.value.exit_code, variable in raised.value.message)
    assert "s3cr3t" not in f"{raised.value.message} {raised.value.hint}"
    assert Route.to(HERE, {variable: value}).proxy is None


@pytest.mark.parametrize(
    ("user", "decoded"),
    [
        ("us%20er:p%40ss%3Aw%23", b"us er:p@ss:w#"),
        ("user", b"user:"),
        ("a:b@c", b"a:b@c"),
        ("%C3%A9:%c3", b"\xc3\xa9:\xc3"),
    ],
)
def test_a_proxys_user_and_password_are_decoded_and_not_shown(user: str, decoded: bytes) -> None:
    from base64 import b64decode

    route = Route.to(V6, {"HTTPS_PROXY": f"http://{user}@[2001:db8::2]:3128"})
    assert route.proxy is not None
    assert decoded == b64decode((route.proxy.authorization or "").removeprefix("Basic "))
    assert "http://…@[2001:db8::2]:3128" == route.proxy.redacted
    assert f"http://{user}@[2001:db8::2]:3128" == route.proxy.url
    assert user not in repr(route) + repr(route.proxy)


def test_a_contradiction_is_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route_module, "_warned", set())
    environ = {"HTTPS_PROXY": P, "https_proxy": Q, "NO_PROXY": "a", "no_proxy": " a "}
    with caplog.at_level(logging.WARNING, "astro_token"):
        for _ in range(3):
            Route.to(NAME, environ)
    assert ["HTTPS_PROXY and https_proxy differ: HTTPS_PROXY is used"] == caplog.messages


# -- addresses ----------------------------------------------------------------------------------------


@each_row(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("::1.example", False),
        ("127.0.0.1.example", False),
        ("127.0.0.256", False),
        ("127.0.0.01", False),
        ("127.1", False),
        ("localhost.example", False),
        ("::ffff:127.0.0.1", False),
        ("", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
    ],
)
def test_loopback_is_decided_by_exact_comparison(host: str, loopback: bool) -> None:
    assert loopback is is_loopback(host)


@each_row(
    ("url", "origin", "target"),
    [
        ("https://vault.example", "https://vault.example", "/"),
        ("HTTPS://Vault.example:443/v1?x=y", "https://vault.example", "/v1?x=y"),
        ("https://vault.example:8200?x=/y", "https://vault.example:8200", "/?x=/y"),
        ("https://[2001:DB8:0::1]:8200", "https://[2001:db8::1]:8200", "/"),
        ("http://[0:0::1]:8200", "http://[::1]:8200", "/"),
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200", "/"),
        ("http://[::1]:8200/a", "http://[::1]:8200", "/a"),
        ("http://metadata.example/x", "http://metadata.example", "/x"),
    ],
)
def test_an_address_is_https_or_plain_http_to_listed_hosts(url: str, origin: str, target: str) -> None:
    address = checked_address(url, "X", plain_hosts={"metadata.example"})
    assert (origin, target) == (address.origin, address.target)


@each_row(
    "url",
    [
        "",
        "vault.example",
        "http://vault.example",
        "http://127.0.0.1.example",
        "http://metadata.example.evil",
        "http://169.254.169.254",
        "ftp://127.0.0.1",
        "https://",
        "https://user:s3cr3t@vault.example",
        "http://127.0.0.1@vault.example",
        "https://vault.example\\@evil.example",
        "https://vault.example:0",
        "https://vault.example:",
        "https://vault.example:99999",
        "https://vault.example:x",
        "https://vault.example:٣",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25]",
        "https://..",
        "https://vault.example/\r\nX: 1",
        "https://vault.example/a b",
        "https://vault.example/#s3cr3t",
        "https://väult.example",
        "file:///etc/passwd",
    ],
)
def test_any_other_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Route.to(url, {}, variable="THE_VARIABLE", plain_hosts={"metadata.example"})
    assert "THE_VARIABLE" in raised.value.message
    assert "s3cr3t" not in f"{raised.value.message} {raised.value.hint}"


def test_a_zone_stays_on_this_machine() -> None:
    address = parse_address(ZONE)
    assert ("fe80::1%eth0", "[fe80::1]:8200", "[fe80::1]:8200") == (
        address.host,
        address.authority,
        address.host_header,
    )


@each_row(
    "host", ["169.254.169.254", "169.254.170.23", "[fd00:ec2::254]", "[fe80::1]", "metadata.google.internal"]
)
def test_a_metadata_service_is_plain_direct_and_for_logins_only(host: str) -> None:
    route = Route.to(f"http://{host}/latest", {"HTTPS_PROXY": P, "HTTP_PROXY": P}, login=True)
    assert (True, None, None) == (route.is_metadata, route.proxy, route.trust)
    with pytest.raises(ConfigError):
        Route.to(f"http://{host}/latest", {})
    assert not is_metadata(f"{host}.example")


def test_routes_share_a_connection_only_if_nothing_differs() -> None:
    keys = [
        Route.to(url, environ, ca_variables=("OWN",)).key
        for url, environ in (
            (NAME, {}),
            (NAME + "/other", {}),
            (DEEP, {}),
            (NAME, {"HTTPS_PROXY": P}),
            (NAME, {"HTTPS_PROXY": "http://u:p@proxy.example:3128"}),
            (NAME, {"OWN": "/a"}),
            (NAME, {"ASTRO_TOKEN_CA_BUNDLE": "/a"}),
        )
    ]
    assert keys[0] == keys[1]
    assert 6 == len(set(keys))
