"""
A request to the release server, and where it leads.

Redirects are followed here, and nowhere else in this program:
GitHub keeps the files of a release on another host, whose name changes,
and tells the latest release by a redirect.
Nothing is lost by it: no credential, cookie or ~/.netrc entry is sent to anybody,
and what comes is believed by its digest, not by where it came from.
They are followed three times at most, and never from https to http.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    SecretNotFoundError,
)
from astro_token.log import logger
from astro_token.transport.network import (
    checked_address,
    connection_failure,
    opener,
    public_tls_context,
    seconds_to_wait,
)
from astro_token.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from urllib.parse import SplitResult
    from urllib.request import OpenerDirector

__all__ = ["BETWEEN", "RELEASES", "answers", "damaged", "ended_early", "final", "out_of_time", "refusal"]

RELEASES = "ASTRO_TOKEN_CLI_RELEASES_URL"
BETWEEN = f"see {RELEASES}, the proxy, and what else is between here and there"
_REDIRECTS = 3
_SILENCE = 10.0  # seconds without a byte
_MOVED = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_REFUSED = frozenset({401, 403, 407})
_PASSING = frozenset({408, 425, 429})


def final(url: str, environ: Mapping[str, str], seconds: float) -> Any:
    """The good answer at the end of all redirects."""
    for answer, following in answers(url, environ, seconds):
        failure = None if following else refusal(answer)
        if following is None and failure is None:
            return answer
        answer.close()
        if failure is not None:
            raise failure
    raise IntegrityError(f"we were sent elsewhere more than {_REDIRECTS} times", hint=BETWEEN)


def answers(url: str, environ: Mapping[str, str], seconds: float) -> Iterator[tuple[Any, str | None]]:
    """Each answer, with the address that it sends us to; the last one sends us nowhere."""
    end = time.monotonic() + seconds
    asked, whom = checked_address(url, RELEASES), "the release server"
    trust: ssl.SSLContext | None = None  # made once, for to read all authorities of a system takes a while
    for _ in range(1 + _REDIRECTS):
        logger.debug(
            "asking %s for %s", whom, url.rpartition("/")[2] if whom == "the release server" else "it"
        )
        if trust is None and asked.scheme == "https":
            trust = public_tls_context(environ)
        left = min(_SILENCE, max(0.1, end - time.monotonic()))
        answer = _asked(url, whom, opener(asked, environ, trust), left)
        following = _following(url, answer) if answer.status in _MOVED else None
        yield answer, following
        if following is None:
            return
        whom = "the server that the release server names"
        asked, url = _checked(asked, following), following


def _asked(url: str, whom: str, by: OpenerDirector, seconds: float) -> Any:
    from http.client import HTTPException
    from urllib.request import Request

    # An archive is compressed already, and what is packed once more could be a bomb.
    headers = {"User-Agent": f"astro-token/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    failure: AstroTokenError
    try:
        return by.open(Request(url, headers=headers), timeout=seconds)  # noqa: S310 (checked)
    except (OSError, UnicodeError) as error:
        failure = connection_failure(error, whom)
    except HTTPException:
        failure = damaged()
    raise failure


def _following(url: str, answer: Any) -> str:
    from urllib.parse import urljoin

    location: str = answer.headers.get("Location") or ""
    with suppress(ValueError):  # a bracket that is not closed
        return urljoin(url, location) if location else ""
    return ""


def _checked(before: SplitResult, url: str) -> SplitResult:
    try:
        address = checked_address(url, RELEASES)
    except ConfigError:
        address = None
    if address is None or (before.scheme == "https" and address.scheme != "https"):
        raise IntegrityError("the release server sent us to a place that is not https", hint=BETWEEN)
    return address


def refusal(answer: Any) -> AstroTokenError | None:
    status = answer.status
    if status in _GONE:
        return SecretNotFoundError(
            "the release server has no such release, or no such file of it",
            hint=f"see the version, and {RELEASES} if it is set",
        )
    if status in _REFUSED:
        return AccessDeniedError(
            f"the release server does not let everybody read it (status {status})",
            hint="no credential is sent to it: a mirror has to do without one",
        )
    if status in _PASSING or status // 100 == 5:  # noqa: PLR2004
        return BackendUnavailableError(
            f"the release server cannot give it now (status {status})",
            hint="try again later",
            retry_after=seconds_to_wait(answer.headers),
        )
    if status != 200:  # noqa: PLR2004
        return damaged()
    # Without its length, what is cut off cannot be told from what is whole.
    return None if answer.chunked or answer.length is not None else ended_early()


# -- what else can be wrong with an answer ------------------------------------------------------------


_TIME = "try again later, or give more with --timeout"


def out_of_time() -> BackendUnavailableError:
    return BackendUnavailableError("the time was over before all of it came", hint=_TIME)


def ended_early() -> BackendUnavailableError:
    # Not a damaged answer: nothing of a half is used, and connections that take long do break.
    return BackendUnavailableError("the release server ended early, before all of it came", hint=_TIME)


def damaged() -> IntegrityError:
    return IntegrityError("the answer of the release server is damaged, or not its own", hint=BETWEEN)
