"""Where the Astro API is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.transport.network import checked_address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["API_VARIABLE", "api_address"]

API_VARIABLE = "ASTRO_TOKEN_API_URL"
_DOMAIN_VARIABLE = "ASTRO_DOMAIN"
# As the Astro CLI tells Astro from Astronomer's software for one's own cluster, which knows no such tokens.
_DOMAIN = re.compile(
    r"(?:https://)?(?:(pr[0-9]{4,6})\.)?(?:cloud\.)?(astronomer(?:-(?:dev|stage|perf))?\.io)/?"
)


def api_address(environ: Mapping[str, str]) -> str:
    """
    The address that the paths of v1 are appended to.

    A domain that is not Astro's own gets no token, for it may be mistyped: it has to be said in full.

    Raises:
        ConfigError: the address is refused, or the domain is none of Astro's.
    """
    url = environ.get(API_VARIABLE)
    if url:
        address = checked_address(url, API_VARIABLE)
        if address.query:
            raise ConfigError(
                f"the address in {API_VARIABLE} has a query", hint="it ends with the host, or with a path"
            )
        return f"{address.scheme}://{address.netloc}{address.path.rstrip('/').removesuffix('/v1')}/v1"
    domain = _DOMAIN.fullmatch(environ.get(_DOMAIN_VARIABLE) or "astronomer.io")
    if domain is None:
        raise ConfigError(
            f"{_DOMAIN_VARIABLE} is no domain of Astro's, so that it is not known where its API is",
            hint="unset it, or correct it to astronomer.io; for one of your own "
            f"set {API_VARIABLE} to the address of its API",
        )
    pull_request, rest = domain.groups()
    return f"https://{f'{pull_request}.' if pull_request else ''}api.{rest}/v1"
