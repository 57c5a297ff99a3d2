"""Addresses of services: https, and plain http to this machine only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "Address",
    "checked_address",
    "is_literal",
    "is_loopback",
    "is_metadata",
    "parse_address",
    "split_host_port",
]

_PORTS = {"http": 80, "https": 443}
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_METADATA_HOSTS = frozenset({"metadata.google.internal", "fd00:ec2::254", "fd00:ec2::23"})
_LARGEST_PORT = 65535
_OCTETS = frozenset(map(str, range(256)))


class Address(Record):
    """
    The parts of a URL. An IPv6 host is in its shortest form, without brackets and with its zone.

    Attributes:
        target: path and query, as in a request line. It may hold a secret, so it is never shown.
    """

    _hidden = ("target",)
    scheme: str
    host: str
    port: int
    target: str = "/"

    @property
    def authority(self) -> str:
        """`host:port` as in a CONNECT request, without the zone: it has no meaning elsewhere."""
        return f"{_bracketed(self.host.partition('%')[0])}:{self.port}"

    @property
    def host_header(self) -> str:
        return self.authority.removesuffix(f":{_PORTS[self.scheme]}")

    @property
    def origin(self) -> str:
        """Scheme, host, and a port other than the default. It holds no secret."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{_bracketed(self.host)}{port}"


def parse_address(url: str) -> Address:
    """Parse an http or https URL. A `ValueError` refuses any other text, a user and a fragment."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _PORTS or not (url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise ValueError("not an http URL")
    end = min(len(rest.partition("/")[0]), len(rest.partition("?")[0]))
    host, port = split_host_port(rest[:end], _PORTS[scheme])
    target = rest[end:]
    return Address(scheme, host, port, target if target.startswith("/") else f"/{target}")


def split_host_port(text: str, default: int) -> tuple[str, int]:
    """Split `host:port`, `host`, `[IPv6]:port` or `[IPv6]`. A `ValueError` refuses any other text."""
    text = text.lower()
    if text.startswith("["):
        import ipaddress

        host, bracket, rest = text[1:].partition("]")
        host = str(ipaddress.IPv6Address(host.replace("%25", "%", 1)))  # RFC 6874 encodes the zone's sign
        before, colon, port = rest.partition(":")
        is_valid = bracket and not before
    else:
        host, colon, port = text.partition(":")
        is_valid = host.strip(".") and _HOST_CHARACTERS.issuperset(host)
    if not is_valid:
        raise ValueError("not a host")
    if not colon:
        return host, default
    is_number = port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))
    if not is_number or not 0 < int(port) <= _LARGEST_PORT:
        raise ValueError("not a port")
    return host, int(port)


def is_literal(host: str) -> bool:
    """True for an IP address: it needs no name server. A name may end in a number too."""
    return ":" in host or bool(_octets(host))


def is_loopback(host: str) -> bool:
    """True for this machine, by exact comparison: `127.0.0.1.example` is another host."""
    return host == "localhost" or host.partition("%")[0] == "::1" or _octets(host)[:1] == ["127"]


def is_metadata(host: str) -> bool:
    """True for metadata services and for link-local addresses: no router forwards requests to these."""
    is_link_local = ":" in host and host[:3] in {"fe8", "fe9", "fea", "feb"}
    return host in _METADATA_HOSTS or is_link_local or _octets(host)[:2] == ["169", "254"]


def checked_address(
    url: str | Address, variable: str, *, plain_hosts: Collection[str] = (), metadata: bool = False
) -> Address:
    """
    Check an address that may receive a credential or a secret.

    Args:
        variable: the setting that holds the address. The address is not repeated: it may hold a password.
        plain_hosts: further hosts that plain http may reach.
        metadata: plain http may reach metadata services.

    Raises:
        ConfigError: it is neither https nor http to one of these hosts, or it is malformed.
    """
    problem = "https"
    try:
        address = parse_address(url.strip()) if isinstance(url, str) else url
        host = address.host
        if address.scheme == "https" or is_loopback(host) or host in plain_hosts:
            return address
        if metadata and is_metadata(host):
            return address
    except ValueError:
        problem = "valid"
    raise ConfigError(
        f"the address in {variable} is not {problem}",
        hint="use https://HOST[:PORT] without a user; plain http is accepted for "
        f"loopback{' and link-local' if metadata else ''} addresses only",
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _octets(host: str) -> list[str]:
    """The four numbers of an IPv4 address; none for any other host."""
    parts = host.split(".")
    return parts if len(parts) == 4 and _OCTETS.issuperset(parts) else []  # noqa: PLR2004
