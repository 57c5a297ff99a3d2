"""
The route of a request: direct or through a proxy, and the CA bundle.

The only reader of the proxy and CA variables. Proxies follow the rules of the Astro CLI, which are Go's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, NoStoreError
from astro_token.record import Record
from astro_token.system.variables import setting
from astro_token.transport.address import Address, checked_address, is_loopback, is_metadata, split_host_port
from astro_token.transport.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from astro_token.transport.trust import ClientCertificate

    IPAddress = IPv4Address | IPv6Address

__all__ = ["Proxy", "Route"]

_USER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*"
_warned: set[str] = set()


class Proxy(Record):
    """
    An HTTP proxy.

    Attributes:
        variable: the variable that names the proxy.
        user: user and password, percent-encoded; empty if none is set.
    """

    _hidden = ("user",)
    host: str
    port: int
    variable: str
    user: str = ""

    @property
    def authorization(self) -> str | None:
        """The value of the header `Proxy-Authorization`."""
        if not self.user:
            return None
        from base64 import b64encode
        from urllib.parse import unquote_to_bytes

        pair = unquote_to_bytes(self.user if ":" in self.user else f"{self.user}:")
        return f"Basic {b64encode(pair).decode('ascii')}"

    @property
    def url(self) -> str:
        """The URL for libraries that connect themselves. It may hold a password: show `redacted` instead."""
        return self.redacted.replace("…", self.user)

    @property
    def redacted(self) -> str:
        return f"http://{'…@' if self.user else ''}{Address('http', self.host, self.port).authority}"


class Route(Record):
    """
    A destination, and the proxy and certificates on the path to it. Create it with `Route.to`.

    Attributes:
        service, variable: the name of the service, and the setting that holds its address; for messages.
        proxy: None for a direct connection.
        trust: the CA certificates for the destination; None for plain http.
        is_metadata: plain http to a metadata service, which answers within a second or does not exist.
    """

    address: Address
    service: str
    variable: str
    proxy: Proxy | None = None
    trust: Trust | None = None
    is_metadata: bool = False

    @classmethod
    def to(
        cls,
        address: Address | str,
        environ: Mapping[str, str],
        *,
        service: str = "the service",
        variable: str = "the address",
        ca_variables: Sequence[str] = (),
        client_certificate: ClientCertificate | None = None,
        plain_hosts: Collection[str] = (),
        login: bool = False,
    ) -> Route:
        """
        Choose the proxy and the CA bundle for an address. CA files are read when they are needed.

        Args:
            ca_variables: the service's own CA variables, in order of precedence. The caller can add
                a setting from a file to `environ`, under its name.
            plain_hosts: hosts other than loopback that plain http may reach.
            login: plain http may reach a metadata service. No proxy is used.

        Raises:
            NoStoreError: the address is empty. A chain of references continues.
            ConfigError: the address, or the proxy's address, is refused.
        """
        if not address:
            raise NoStoreError(f"{variable} is not set", hint=f"set it to the address of {service}")
        checked = checked_address(address, variable, plain_hosts=plain_hosts, metadata=login)
        if checked.scheme == "http":
            return cls(checked, service, variable, is_metadata=is_metadata(checked.host))
        trust = Trust(environ, ca_variables, client_certificate)
        return cls(checked, service, variable, _proxy(checked, environ), trust)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for routes that can share a connection."""
        address = self.address
        return (address.scheme, address.host, address.port, self.proxy, self.trust and self.trust.key)


def _proxy(address: Address, environ: Mapping[str, str]) -> Proxy | None:
    if is_loopback(address.host):
        return None
    variable, value = _either(environ, "HTTPS_PROXY")
    if not value or _is_exempt(address, _either(environ, "NO_PROXY")[1]):
        return None
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    user, _, authority = rest.removesuffix("/").rpartition("@")
    import re

    try:
        host, port = split_host_port(authority, 80)
        if scheme.lower() == "http" and re.fullmatch(_USER, user):
            return Proxy(host, port, variable, user)
    except ValueError:
        pass
    raise ConfigError(
        f"{variable} is not the address of an HTTP proxy",
        hint="use http://[USER:PASSWORD@]HOST:PORT, with special characters percent-encoded (# is %23); "
        "https and SOCKS proxies are not supported",
    )


def _either(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the variable in upper case, else in lower case, and its value. Warn once if they differ."""
    upper, lower = setting(environ, name), setting(environ, name.lower())
    if upper and lower and upper != lower and name not in _warned:
        _warned.add(name)
        from astro_token.log import logger

        logger.warning("%s and %s differ: %s is used", name, name.lower(), name)
    return (name, upper) if upper or not lower else (name.lower(), lower)


def _is_exempt(address: Address, no_proxy: str) -> bool:
    ip = _ip(address.host)
    return any(_matches(entry.strip(), address, ip) for entry in no_proxy.lower().split(","))


def _matches(entry: str, address: Address, ip: IPAddress | None) -> bool:
    """
    True if an entry of `NO_PROXY` covers the address: `*`, a host with its subdomains, `.suffix`, `*.suffix`,
    an IP address, each with an optional port; or a network.
    """
    if entry == "*":
        return True
    name, port = entry, ""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
    elif entry.count(":") == 1:  # with more of them it is an IPv6 address
        name, colon, port = entry.partition(":")
        port = f"{colon}{port}"
    if not name or port not in {"", ":", f":{address.port}"}:
        return False
    if ip is None:
        suffix = name.removeprefix("*.").removeprefix(".")
        return address.host == name or address.host.endswith(f".{suffix}")
    import ipaddress

    try:  # not as text: the zone of an IPv6 address may end in any name
        return ip in ipaddress.ip_network(entry if "/" in entry else name.partition("%")[0], strict=False)
    except ValueError:
        return False


def _ip(host: str) -> IPAddress | None:
    if ":" not in host and not host[-1:].isdigit():
        return None  # a name: no need to load ipaddress
    import ipaddress

    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
