"""Probe an address through the configured proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from astro_token.errors import AstroTokenError, ConfigError, named
from astro_token.transport.network import proxy_for, reach

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from astro_token.transport.deadline import Deadline

__all__ = ["probe", "redact_url"]


def probe(
    address: SplitResult,
    trust: ssl.SSLContext,
    environ: Mapping[str, str],
    deadline: Deadline,
    *,
    to: str = "the service",
) -> str:
    """
    Connect, and describe the result in words that follow the address.

    Raises:
        AstroTokenError: the connection failed. The message names the address.
    """
    proxy = proxy_for(address, environ) if address.scheme == "https" else None
    if proxy and not _is_url(proxy):
        raise ConfigError("HTTPS_PROXY is malformed", hint="as in http://proxy.example.com:3128")
    if proxy and proxy.startswith("https:"):  # its password would be sent in clear text
        return "was not probed: HTTPS_PROXY names a proxy that is reached over TLS"
    try:
        deadline.once(lambda seconds: reach(address, trust, environ, seconds, to=to))
    except AstroTokenError as error:
        failure = named(error, redact_url(address))
    else:
        return f"can be reached{' through the proxy of HTTPS_PROXY' if proxy else ''}"
    raise failure


def redact_url(address: SplitResult) -> str:
    """Return an address without its user, password, query and fragment, which may hold a secret."""
    return address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_url(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is not a number
        return False
