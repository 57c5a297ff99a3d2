"""Where Vault is and how it is reached, from the environment."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from astro_token.errors import ConfigError
from astro_token_backends.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "path_from", "read_settings", "text_from"]

_EXAMPLE = "as in VAULT_ADDR=https://vault.example.com:8200"
_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*)(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_NOT_TRUE = frozenset({"", "0", "f", "false"})


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Attributes:
        address: scheme, host, perhaps a port and a path, with no slash at the end.
        namespace: of the login, and of references that name none.
        proxy: for this address; it may hold a password.
        ca_file, ca_folder: replace the roots that are trusted by default; the first wins.
        more_cas: a file, added to whatever is trusted.
        client_certificate, client_key: files.
    """

    address: str
    namespace: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    ca_folder: str | None = None
    more_cas: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """
    Raises:
        ConfigError: they are missing, malformed, or would weaken the connection.
            What was refused is not repeated: it may hold a password.
    """
    if environ.get("VAULT_SKIP_VERIFY", "").strip().lower() not in _NOT_TRUE:
        raise ConfigError(
            "VAULT_SKIP_VERIFY is set, and the certificate of Vault is never left unchecked",
            hint="unset it, and name the authority's file in VAULT_CACERT",
        )
    parts = _address(environ.get("VAULT_ADDR", "").strip())
    return Settings(
        address=f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"),
        namespace=path_from(environ, "VAULT_NAMESPACE"),
        proxy=_proxy(environ, parts),
        ca_file=environ.get("VAULT_CACERT") or None,
        ca_folder=environ.get("VAULT_CAPATH") or None,
        more_cas=environ.get("ASTRO_TOKEN_CA_BUNDLE") or None,
        client_certificate=environ.get("VAULT_CLIENT_CERT") or None,
        client_key=environ.get("VAULT_CLIENT_KEY") or None,
    )


def text_from(environ: Mapping[str, str], name: str) -> str | None:
    """A variable without the line end that reading it from a file has left; None where it is not set."""
    return environ.get(name, "").strip("\r\n") or None


def path_from(environ: Mapping[str, str], name: str) -> str | None:
    """
    A variable that becomes a part of a path.

    Raises:
        ConfigError: it could reach another path than the one that it names.
    """
    path = (text_from(environ, name) or "").strip("/")
    if path and not _PATH.fullmatch(path):
        raise ConfigError(
            f"{name} is malformed", hint="it is a path of letters, digits and _ . -, as in team/ci"
        )
    return path or None


def _address(address: str) -> SplitResult:
    if not address:
        raise ConfigError("VAULT_ADDR is not set", hint=f"set it to the address of Vault, {_EXAMPLE}")
    # urlsplit drops line ends and tabs from inside of a URL; nothing of that kind gets as far.
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_/-]+", address):
        raise ConfigError(
            "VAULT_ADDR is no https address, or contains what has no place there, such as a user or a query",
            hint=f"set it to the plain address of Vault, {_EXAMPLE}",
        )
    parts = _split(address)
    if parts is None or not _PATH.fullmatch(parts.path.strip("/") or "_"):
        raise ConfigError("VAULT_ADDR is malformed", hint=f"set it to the address of Vault, {_EXAMPLE}")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            "VAULT_ADDR is plain http to another machine, which would send the token in clear",
            hint=f"use https, {_EXAMPLE}",
        )
    return parts


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:  # a port that is no number, a bracket that is not closed
        return None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _proxy(environ: Mapping[str, str], address: SplitResult) -> str | None:
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    host = address.hostname or ""
    # What is in clear is on loopback, so it goes through none.
    if (
        not proxy
        or is_loopback(host)
        or _direct(environ.get("NO_PROXY") or environ.get("no_proxy") or "", address)
    ):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not re.fullmatch(r"https?://[^/\s]+/?", proxy):
        raise ConfigError(
            "HTTPS_PROXY is no address of an HTTP proxy", hint="as in http://proxy.example.com:3128"
        )
    return proxy


def _direct(no_proxy: str, address: SplitResult) -> bool:
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    host = address.hostname or ""
    ip = _ip(host)
    if ip is not None:
        for entry in no_proxy.split(","):
            try:
                if ip in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
            except ValueError:  # a name
                continue
    return bool(proxy_bypass_environment(f"{host}:{address.port or 443}", {"no": no_proxy}))
