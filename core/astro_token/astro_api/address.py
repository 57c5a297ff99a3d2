"""The address of the Astro API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.system.variables import setting
from astro_token.transport.address import checked_address
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["API_VARIABLE", "api_address", "api_route"]

API_VARIABLE = "ASTRO_TOKEN_API_URL"
_DOMAIN_VARIABLE = "ASTRO_DOMAIN"
# By this the Astro CLI distinguishes Astro from Astronomer Software, which has no such tokens.
_DOMAIN = re.compile(
    r"(?:https://)?(?:(pr[0-9]{4,6})\.)?(?:cloud\.)?(astronomer(?:-(?:dev|stage|perf))?\.io)/?"
)


def api_route(environ: Mapping[str, str]) -> Route:
    """
    The route to the API. The target of its address precedes the paths of v1.

    Raises:
        ConfigError: as `api_address`, or the proxy's address.
    """
    return Route.to(api_address(environ), environ, service="Astro's API", variable=API_VARIABLE)


def api_address(environ: Mapping[str, str]) -> str:
    """
    The address that precedes the paths of v1.

    A domain that is not Astro's may be mistyped, and gets no token: its API needs `ASTRO_TOKEN_API_URL`.

    Raises:
        ConfigError: the address is not accepted, or the domain is not Astro's.
    """
    url = setting(environ, API_VARIABLE)
    if url:
        address = checked_address(url, API_VARIABLE)
        if "?" in address.target:
            raise ConfigError(
                f"the address in {API_VARIABLE} has a query", hint="end it with the host or a path"
            )
        return f"{address.origin}{address.target.rstrip('/').removesuffix('/v1')}/v1"
    domain = _DOMAIN.fullmatch(setting(environ, _DOMAIN_VARIABLE) or "astronomer.io")
    if domain is None:
        raise ConfigError(
            f"{_DOMAIN_VARIABLE} is not a domain of Astro",
            hint="unset it, or correct it to astronomer.io; for a domain of your own "
            f"set {API_VARIABLE} to the address of its API",
        )
    pull_request, rest = domain.groups()
    return f"https://{f'{pull_request}.' if pull_request else ''}api.{rest}/v1"
