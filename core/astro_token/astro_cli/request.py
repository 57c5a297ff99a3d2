"""
Requests to the release server, and their redirects.

Redirects are followed here and nowhere else in this program:
GitHub keeps the files of a release on another host, and names the latest release by a redirect.
This is safe: no credential, cookie or ~/.netrc entry is sent, and a file is accepted by its digest.
At most three redirects are followed, and none from https to http.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    SecretNotFoundError,
)
from astro_token.log import logger
from astro_token.transport.address import checked_address
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astro_token.errors import AstroTokenError
    from astro_token.transport.client import Client, Response

__all__ = ["CHECK_ROUTE", "RELEASES", "final_response", "response_failure", "responses", "until_silent"]

RELEASES = "ASTRO_TOKEN_CLI_RELEASES_URL"
CHECK_ROUTE = f"check {RELEASES} and the proxy"
_REDIRECTS = 3
_SILENCE = 10.0  # seconds without a byte
_MOVED = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_DENIED = frozenset({401, 403})


def final_response(client: Client, url: str, environ: Mapping[str, str], end: float) -> Response:
    """The successful response at the end of all redirects. The caller closes it."""
    for response, target in responses(client, url, environ, end):
        failure = None if target else response_failure(response)
        if target is None and failure is None:
            return response
        response.close()
        if failure is not None:
            raise failure
    raise IntegrityError(
        f"the release server answered with more than {_REDIRECTS} redirects", hint=CHECK_ROUTE
    )


def responses(
    client: Client, url: str, environ: Mapping[str, str], end: float
) -> Iterator[tuple[Response, str | None]]:
    """Each response with the address that it redirects to; None for the last one."""
    route = Route.to(url, environ, service="the release server", variable=RELEASES)
    logger.debug("requesting %s from the release server", url.rpartition("/")[2])
    for _ in range(1 + _REDIRECTS):
        until = until_silent(end)
        response = client.send(route, "GET", route.address.target, until=until, limit=None)
        target = _target(url, response) if response.status in _MOVED else None
        yield response, target
        if target is None:
            return
        logger.debug("following a redirect of the release server")
        route, url = _next_route(route, target, environ), target


def until_silent(end: float) -> float:
    """The end of the next wait: a download may take long, but not without a byte."""
    return min(end, time.monotonic() + _SILENCE)


def _target(url: str, response: Response) -> str:
    from urllib.parse import urljoin

    location: str = response.headers.get("Location") or ""
    try:
        return urljoin(url, location) if location else ""
    except ValueError:  # a bracket that is not closed
        return ""


def _next_route(route: Route, url: str, environ: Mapping[str, str]) -> Route:
    try:
        address = checked_address(url, RELEASES)
    except ConfigError:
        address = None
    if address is None or (route.address.scheme == "https" and address.scheme != "https"):
        raise IntegrityError("the release server redirects to an address that is not https", hint=CHECK_ROUTE)
    return Route.to(
        address, environ, service="the server that the release server redirects to", variable=RELEASES
    )


def response_failure(response: Response) -> AstroTokenError | None:
    status = response.status
    if status == 200:  # noqa: PLR2004
        if response.is_bounded:
            return None
        # Without a length, a body that is cut cannot be told from a complete one.
        return BackendUnavailableError(
            "the release server does not send the length of its response",
            hint=f"try again later; {CHECK_ROUTE}",
        )
    if status in _GONE:
        return SecretNotFoundError(
            "the release server does not have this release, or this file of it",
            hint=f"check the version, and {RELEASES} if it is set",
        )
    if status in _DENIED:
        return AccessDeniedError(
            f"the release server denies anonymous access (status {status})",
            hint="no credential is sent to it: use a mirror that needs none",
        )
    return response.failure() or response.damaged()
