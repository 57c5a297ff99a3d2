"""
The route of a request: direct or through a proxy, and the CA bundle.

The only reader of the proxy and CA variables. Proxies follow the rules of the Astro CLI, which are Go's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.transport.address import (
    Address,
    checked_address,
    is_loopback,
    is_metadata,
    split_host_port,
)
from astro_token.transport.trust import Trust, setting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from astro_token.transport.trust import ClientCertificate

__all__ = ["Proxy", "Route"]

_USER_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@%"
)
_warned: set[str] = set()


class Proxy:
    """
    An HTTP proxy.

    Attributes:
        variable: the one that names it.
        authorization: value of the header `Proxy-Authorization`, or None.
        url: for libraries that connect themselves; it may hold a password. `redacted` is safe to show.
    """

    __slots__ = ("authorization", "host", "port", "url", "variable")

    def __init__(self, host: str, port: int, variable: str, user: str = "") -> None:
        self.host = host
        self.port = port
        self.variable = variable
        self.url = f"http://{user}@{self._authority}" if user else f"http://{self._authority}"
        self.authorization: str | None = None
        if user:
            from base64 import b64encode

            pair = _percent_decoded(user if ":" in user else f"{user}:")
            self.authorization = f"Basic {b64encode(pair).decode('ascii')}"

    @property
    def redacted(self) -> str:
        return f"http://{'…@' if self.authorization else ''}{self._authority}"

    @property
    def _authority(self) -> str:
        return Address("http", self.host, self.port).authority

    def __repr__(self) -> str:
        return f"Proxy({self.redacted})"


class Route:
    """
    One destination with everything that decides how a request reaches it. Create it with `Route.to`.

    Attributes:
        service: its name in messages.
        variable: the setting that holds its address, for hints.
        proxy: None for a direct connection.
        trust: the certificates that it is verified with; None for plain http.
        is_metadata: plain http to a metadata service, which answers within a second or does not exist.
    """

    __slots__ = ("address", "is_metadata", "proxy", "service", "trust", "variable")

    def __init__(
        self,
        address: Address,
        service: str,
        variable: str,
        *,
        proxy: Proxy | None = None,
        trust: Trust | None = None,
        is_metadata: bool = False,
    ) -> None:
        self.address = address
        self.service = service
        self.variable = variable
        self.proxy = proxy
        self.trust = trust
        self.is_metadata = is_metadata

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
            ca_variables: the service's own, in order of precedence. A setting from a file can be passed
                as one more entry of `environ`, under its name.
            plain_hosts: hosts other than loopback that plain http may reach.
            login: plain http may reach a metadata service, directly.

        Raises:
            ConfigError: the address, or the proxy's address.
        """
        checked = checked_address(address, variable, plain_hosts=plain_hosts, metadata=login)
        if checked.scheme == "http":
            metadata = is_metadata(checked.host)
            return cls(checked, service, variable, is_metadata=metadata)
        trust = Trust(environ, ca_variables, client_certificate)
        return cls(checked, service, variable, proxy=_proxy(checked, environ), trust=trust)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for routes that can share a connection."""
        address, proxy = self.address, self.proxy.url if self.proxy else None
        return (address.scheme, address.host, address.port, proxy, self.trust and self.trust.key)

    def __repr__(self) -> str:
        through = f" through {self.proxy.redacted}" if self.proxy else ""
        return f"Route({self.address.origin}{through})"


def _proxy(address: Address, environ: Mapping[str, str]) -> Proxy | None:
    if is_loopback(address.host):
        return None
    variable, value = _either(environ, "HTTPS_PROXY")
    if not value or _is_exempt(address, _either(environ, "NO_PROXY")[1]):
        return None
    try:
        return _parsed(value, variable)
    except ValueError:
        pass
    raise ConfigError(
        f"{variable} is not the address of an HTTP proxy",
        hint="use http://[USER:PASSWORD@]HOST:PORT, with special characters percent-encoded (# is %23); "
        "https and SOCKS proxies are not supported",
    )


def _either(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable in upper or else in lower case, and its value. Warn once if they contradict each other."""
    upper, lower = setting(environ, name), setting(environ, name.lower())
    if upper and lower and upper != lower and name not in _warned:
        _warned.add(name)
        from astro_token.log import logger

        logger.warning("%s and %s differ: %s is used", name, name.lower(), name)
    return (name, upper) if upper or not lower else (name.lower(), lower)


def _parsed(value: str, variable: str) -> Proxy:
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    user, _, authority = rest.removesuffix("/").rpartition("@")
    if scheme.lower() != "http" or not _USER_CHARACTERS.issuperset(user):
        raise ValueError("not an HTTP proxy")
    host, port = split_host_port(authority, 80)
    return Proxy(host, port, variable, user)


def _percent_decoded(text: str) -> bytes:
    first, *pieces = text.encode("ascii").split(b"%")
    decoded = first
    for piece in pieces:
        digits = piece[:2].decode("ascii")
        if len(digits) != 2 or not set(digits) <= set("0123456789abcdefABCDEF"):  # noqa: PLR2004
            raise ValueError("not percent-encoded")
        decoded += bytes.fromhex(digits) + piece[2:]
    return decoded


def _is_exempt(address: Address, no_proxy: str) -> bool:
    """
    True if `NO_PROXY` lists the address: `*`, a host with its subdomains, `.suffix`, `*.suffix`,
    an IP address, each with an optional port; or a network.
    """
    host, port = address.host, str(address.port)
    ip = _ip(host)
    for entry in no_proxy.lower().split(","):
        entry = entry.strip()  # noqa: PLW2901
        if entry == "*":
            return True
        name, entry_port = _entry(entry)
        if ip is not None and "/" in entry:
            if _contains(entry, ip):
                return True
        elif not name or entry_port not in {"", port}:
            continue
        elif ip is not None and (listed := _ip(name)) is not None:
            # Go compares an address with a zone as text; but a link-local address is never behind a proxy.
            if listed == ip:
                return True
        elif host.endswith(f".{name.removeprefix('*').removeprefix('.')}") or host == name:
            return True
    return False


def _entry(entry: str) -> tuple[str, str]:
    """The host and the port of an entry. More than one colon without brackets is an IPv6 address."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") > 1:
        return entry, ""
    host, _, port = entry.partition(":")
    return host, port


def _ip(host: str) -> object | None:
    if ":" not in host and not host[-1:].isdigit():
        return None  # a name: no need to load ipaddress
    import ipaddress

    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _contains(network: str, ip: object) -> bool:
    import ipaddress

    try:
        return ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
