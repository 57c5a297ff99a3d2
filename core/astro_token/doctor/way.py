"""Whether a connection to an address comes about, by the proxy where there is one."""

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

__all__ = ["reached", "shown"]


def reached(
    address: SplitResult,
    trust: ssl.SSLContext,
    environ: Mapping[str, str],
    deadline: Deadline,
    *,
    to: str = "the service",
) -> str:
    """
    How it is reached, in words that follow the address.

    Raises:
        AstroTokenError: it is not. The message names the address.
    """
    proxy = proxy_for(address, environ) if address.scheme == "https" else None
    if proxy and not _is_whole(proxy):
        raise ConfigError("HTTPS_PROXY is malformed", hint="as in http://proxy.example.com:3128")
    if proxy and proxy.startswith("https:"):  # its password would go there in clear
        return "is not tried by itself: the proxy of HTTPS_PROXY is reached over TLS"
    try:
        deadline.once(lambda seconds: reach(address, trust, environ, seconds, to=to))
    except AstroTokenError as error:
        failure = named(error, shown(address))
    else:
        return f"can be reached{', by the proxy of HTTPS_PROXY' if proxy else ''}"
    raise failure


def shown(address: SplitResult) -> str:
    """An address without what a password or a token may stand in."""
    return address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_whole(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        return False
