"""
Downloads from the release server, each up to a limit.

Redirects are followed here and nowhere else in this program:
GitHub keeps the files of a release on another host, and names the latest release by a redirect.
This is safe: no credential, cookie or ~/.netrc entry is sent, and a file is accepted by its digest.
At most three redirects are followed, and none from https to http.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigError,
    InputOutputError,
    IntegrityError,
    SecretNotFoundError,
)
from astro_token.log import logger
from astro_token.transport.address import checked_address
from astro_token.transport.client import Client
from astro_token.transport.route import Route

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from astro_token.errors import AstroTokenError
    from astro_token.transport.client import Response

__all__ = ["CHECK_ROUTE", "RELEASES", "read", "redirect", "save"]

RELEASES = "ASTRO_TOKEN_CLI_RELEASES_URL"
CHECK_ROUTE = f"check {RELEASES} and the proxy"
_TEXT_LIMIT = 64 * 1024
_ARCHIVE_LIMIT = 300 * 1024 * 1024
_BLOCK = 256 * 1024
_REDIRECTS = 3
_SILENCE = 10.0  # seconds without a byte
_MOVED = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_DENIED = frozenset({401, 403})


def read(url: str, environ: Mapping[str, str], seconds: float) -> bytes:
    """
    Download a short text.

    Raises:
        SecretNotFoundError: the server does not have it.
        ConfigError: the address, the proxy or a CA file cannot be used.
        AccessDeniedError: the server denies anonymous access.
        BackendDownError: the host name is unknown.
        BackendUnavailableError: the server cannot be reached, is busy, or ended the response early.
        IntegrityError: no trusted TLS, a redirect that is not accepted, or a damaged response.
    """
    end = time.monotonic() + seconds
    text = b""
    with Client() as client, _final_response(client, url, environ, end) as response:
        while block := response.read(_TEXT_LIMIT, _until_silent(end)):
            text += block
            if len(text) > _TEXT_LIMIT:
                raise response.damaged()
    return text


def save(
    url: str,
    path: Path,
    environ: Mapping[str, str],
    seconds: float,
    progress: Callable[[int, int | None], None],
) -> str:
    """
    Download a file and return its SHA-256.

    Args:
        progress: receives the bytes that have arrived, and the size or None.

    Raises:
        InputOutputError: the file cannot be written.
        as `read`.
    """
    end = time.monotonic() + seconds
    digest, count = hashlib.sha256(), 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with Client() as client, _final_response(client, url, environ, end) as response:
        with _writing(path):
            file = os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600), "wb")
        with file:
            # Some servers call an archive's own compression an encoding.
            while block := response.read(_BLOCK, _until_silent(end), allow_compressed=True):
                count += len(block)
                if max(count, response.length or 0) > _ARCHIVE_LIMIT:
                    raise IntegrityError(
                        f"the archive is larger than {_ARCHIVE_LIMIT >> 20} MiB: no release is that large",
                        hint=CHECK_ROUTE,
                    )
                digest.update(block)
                with _writing(path):
                    file.write(block)
                    file.flush()
                progress(count, response.length)
    return digest.hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Translate errors of the file: any other exception in the downloading thread counts as a bug."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 5).lower()
    else:
        return
    raise InputOutputError(
        f"{path.parent}: {reason}", hint="check the free space and the permissions of the folder"
    )


def redirect(
    url: str, pattern: re.Pattern[str], environ: Mapping[str, str], seconds: float
) -> re.Match[str] | None:
    """
    Search the targets of redirects for a pattern. The first that matches is not requested.

    Raises:
        as `read`.
    """
    with Client() as client:
        for response, target in _responses(client, url, environ, time.monotonic() + seconds):
            with response:
                if match := pattern.search(target or ""):
                    return match
                if target is None and (failure := _failure(response)):
                    raise failure
    return None


# -- responses and redirects ---------------------------------------------------------------------------


def _final_response(client: Client, url: str, environ: Mapping[str, str], end: float) -> Response:
    """Return the successful response at the end of all redirects. The caller closes it."""
    for response, target in _responses(client, url, environ, end):
        failure = None if target else _failure(response)
        if target is None and failure is None:
            return response
        response.close()
        if failure is not None:
            raise failure
    raise IntegrityError(
        f"the release server answered with more than {_REDIRECTS} redirects", hint=CHECK_ROUTE
    )


def _responses(
    client: Client, url: str, environ: Mapping[str, str], end: float
) -> Iterator[tuple[Response, str | None]]:
    """Yield each response with the address that it redirects to; None for the last one."""
    from urllib.parse import urljoin

    route = Route.to(url, environ, service="the release server", variable=RELEASES)
    logger.debug("requesting %s from the release server", url.rpartition("/")[2])
    for _ in range(1 + _REDIRECTS):
        until = _until_silent(end)
        response = client.send(route, "GET", route.address.target, until=until, limit=None)
        if response.status not in _MOVED:
            yield response, None
            return
        location = response.headers.get("Location") or ""
        try:
            url = urljoin(url, location) if location else ""
        except ValueError:  # a bracket that is not closed
            url = ""
        yield response, url
        logger.debug("following a redirect of the release server")
        route = _next_route(route, url, environ)


def _until_silent(end: float) -> float:
    """Return the deadline of the next read: a download may take long, but must not pause for long."""
    return min(end, time.monotonic() + _SILENCE)


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


def _failure(response: Response) -> AstroTokenError | None:
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
