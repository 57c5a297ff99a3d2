"""What the environment says about connections: the proxy, and whom to trust."""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from astro_token.errors import ConfigError
from astro_token.transport.network import tls_context
from astro_token_backends import network

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["Proxy", "proxy_for", "trust"]

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # what Azure's SDK takes for its authorities


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    authorization: str | None = field(repr=False)


def proxy_for(address: SplitResult) -> Proxy | None:
    """
    Raises:
        ConfigError: the variable holds no address of a proxy.
    """
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    url = next(filter(None, map(os.environ.get, names)), None)
    host = address.hostname or ""
    if url is None or network.is_loopback(host):
        return None
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if proxy_bypass_environment(f"{host}:{address.port or 443}", {"no": exceptions}):
        return None
    wanted = re.fullmatch(
        r"(?:http://)?(?:([^\s/@]*)@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?/?", url
    )
    if wanted is None:
        raise ConfigError(
            "HTTPS_PROXY is no address of an HTTP proxy", hint="as in http://proxy.example.com:3128"
        )
    user, name, port = wanted.groups()
    basic = f"Basic {b64encode(unquote(user).encode()).decode()}" if user else None
    return Proxy(name.strip("[]"), int(port or 80), basic)


def trust() -> ssl.SSLContext:
    """
    The authorities that Azure's SDK trusts, and ours.

    Raises:
        ConfigError: a file of them cannot be used.
    """
    context = tls_context()
    name = next((name for name in _BUNDLES if os.environ.get(name)), None)
    if name is None:
        import certifi

        context.load_verify_locations(certifi.where())
    elif Path(os.environ[name]).is_dir():
        context.load_verify_locations(capath=os.environ[name])
    else:
        data = network.trusted_by(os.environ[name], name)
        if not _loaded(context, data):
            raise ConfigError(f"the file that {name} names holds no certificate", hint="name a PEM file")
    return context


def _loaded(context: ssl.SSLContext, data: bytes) -> bool:
    try:
        context.load_verify_locations(cadata=data.decode("ascii", errors="replace"))
    except (ssl.SSLError, ValueError):
        return False
    return True
