"""One GET of the Astro API, with the token itself as the bearer."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from astro_token.astro_api.address import API_VARIABLE, api_address
from astro_token.astro_api.rate import Rate
from astro_token.astro_api.records import repeats
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    bare,
    result,
)
from astro_token.log import silence
from astro_token.transport.network import connection_failure, proxy_for, seconds_to_wait, tls_context
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from astro_token.secret import SecretValue

__all__ = ["Answer", "AstroApi"]

_NAME = "Astro's API"
_BODY_LIMIT = 1024 * 1024
_CONNECTIONS = 32
_PASSING = frozenset({408, 425, 429})
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_OK, _BAD, _UNAUTHORIZED, _FORBIDDEN, _MISSING, _BUSY = 200, 400, 401, 403, 404, 429


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What Astro answered, and nobody between here and there.

    Attributes:
        status: 200, or one of 400, 401, 403 and 404.
        content: the body of a 200; empty for another status, whose texts are nobody's business.
        request_id: by which Astronomer's support finds the request.
        ahead: seconds that Astro's clock is ahead of ours; None where it is not told.
    """

    status: int
    content: Mapping[str, Any]
    request_id: str | None = None
    ahead: float | None = None


class AstroApi:
    """
    The connections to the API, shared by all tokens and threads. `close()` ends them.

    Asked without httpx's own client, which keeps cookies: one token's would be sent with another's request.

    Raises:
        ConfigError: the address, the proxy or the file of authorities cannot be used.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        from urllib.parse import urlsplit

        environ = os.environ if environ is None else environ
        self._base = api_address(environ)
        address = urlsplit(self._base)
        self._tls = address.scheme == "https"
        context = tls_context(environ)
        if self._tls:
            context.load_default_certs()
        proxy = proxy_for(address, environ) if self._tls else None

        import httpx

        try:
            own_tls = context if proxy and proxy.startswith("https:") else None
            via = httpx.Proxy(proxy, ssl_context=own_tls) if proxy else None
        except Exception:  # noqa: BLE001 (its text repeats the address, which may hold a password)
            via = None
        if proxy and via is None:
            raise ConfigError("HTTPS_PROXY is malformed", hint="as in http://proxy.example.com:3128")
        self._transport = httpx.HTTPTransport(
            verify=context,
            trust_env=False,
            proxy=via,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_CONNECTIONS),
        )
        silence(
            ("httpx", "httpcore")
        )  # after the import, which creates their loggers: httpcore logs each answer's header
        self._rate = Rate()

    def get(self, path: str, bearer: SecretValue, *, timeout: float) -> Answer:
        """
        One attempt. No redirect is followed, and nothing of an answer but its request id gets into an error.

        Args:
            path: below `/v1`, of parts that are identifiers.

        Raises:
            AccessDeniedError: what refuses is not Astro, but something on the way.
            BackendDownError: the host name is unknown.
            BackendUnavailableError: it cannot be reached, is busy, or does not answer in time.
            IntegrityError: no trusted TLS, a redirect, a damaged answer, or another service's.
        """
        end = time.monotonic() + timeout
        self._rate.wait(bearer, timeout)
        outcome = self._outcome(path, bearer, end)
        if isinstance(outcome, BackendUnavailableError) and outcome.retry_after is not None:
            self._rate.postpone(bearer, outcome.retry_after)
        return result(outcome)

    def close(self) -> None:
        with suppress(Exception):  # a thread that was left behind may still use it
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # It returns its errors: raised, they would carry this frame, where the header is.

    def _outcome(self, path: str, bearer: SecretValue, end: float) -> Answer | AstroTokenError:
        import httpx

        headers = {
            "Authorization": f"Bearer {bearer.reveal().decode('ascii')}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small body can unpack to a huge one
            "User-Agent": f"astro-token/{__version__}",
            "X-Astro-Client-Identifier": "script",
        }
        timeout = httpx.Timeout(max(0.01, end - time.monotonic())).as_dict()
        begun = False
        try:
            request = httpx.Request(
                "GET", f"{self._base}/{path}", headers=headers, extensions={"timeout": timeout}
            )
            response = self._transport.handle_request(request)
            begun = True
            try:
                body = _body(response, end)
            finally:
                response.close()
            return _judged(response.status_code, response.headers, body, bearer)
        except AstroTokenError as error:
            return bare(error)
        except Exception as error:  # noqa: BLE001 (httpx, httpcore, h11 and ssl raise what they like)
            return _failure(error, begun=begun, tls=self._tls)


def _body(response: httpx.Response, end: float) -> bytes | None:
    """The body as it was sent; None where it is longer than any that is needed."""
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > _BODY_LIMIT:
            return None
        if time.monotonic() > end:  # each read has a timeout, and a body may come in any number of them
            raise BackendUnavailableError(f"{_NAME} did not answer in time", hint="try again later")
    return bytes(body)


def _judged(
    status: int, headers: Mapping[str, str], body: bytes | None, bearer: SecretValue
) -> Answer | AstroTokenError:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    content = _object(body) if body is not None and kind == "application/json" else None
    request_id = _request_id(headers, content, bearer)
    if status in _PASSING or status // 100 == 5:  # noqa: PLR2004
        busy = "asks to be asked less often" if status == _BUSY else "cannot answer now"
        return BackendUnavailableError(
            f"{_NAME} {busy} (status {status})",
            hint="try again later" + of_request(request_id),
            retry_after=seconds_to_wait(headers),
        )
    if status // 100 == 3:  # noqa: PLR2004
        return IntegrityError(
            f"{_NAME} sent us elsewhere, where we do not go", hint=f"see {API_VARIABLE} and HTTPS_PROXY"
        )
    answer = Answer(status, content or {}, request_id, _ahead(headers))
    if status == _OK:
        return answer if content is not None else _foreign()
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        # Astro's gateway speaks plain text. A page is a proxy's, or a portal's.
        if kind == "text/html":
            return AccessDeniedError(
                f"what answers in the place of {_NAME} refuses (status {status})",
                hint=f"see HTTPS_PROXY, NO_PROXY and {API_VARIABLE}",
            )
        return Answer(status, {}, request_id, answer.ahead)
    own = content is not None and content.get("statusCode") == status and "requestId" in content
    if status in {_BAD, _MISSING} and own:
        return Answer(status, {}, request_id, answer.ahead)
    return _foreign()


def _object(body: bytes) -> dict[str, Any] | None:
    import json

    try:
        content = json.loads(body.decode())  # json itself would take other encodings too
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _foreign() -> IntegrityError:
    return IntegrityError(
        f"the answer of {_NAME} is damaged, or not its own",
        hint=f"see {API_VARIABLE}, the proxy, and what else is between",
    )


def _request_id(
    headers: Mapping[str, str], content: Mapping[str, Any] | None, bearer: SecretValue
) -> str | None:
    for said in (headers.get("X-Request-Id"), (content or {}).get("requestId")):
        if isinstance(said, str) and _REQUEST_ID.fullmatch(said) and not repeats(said, bearer):
            return said
    return None


def of_request(request_id: str | None) -> str:
    """What a hint ends with, where the request has a name."""
    return f"; for Astronomer's support: request {request_id}" if request_id else ""


def _ahead(headers: Mapping[str, str]) -> float | None:
    from email.utils import parsedate_to_datetime

    if "Age" in headers:  # a cache's answer has the date of another time
        return None
    with suppress(ValueError, TypeError, OverflowError, OSError):
        return parsedate_to_datetime(headers.get("Date", "")).timestamp() - time.time()
    return None


def _failure(error: Exception, *, begun: bool, tls: bool) -> AstroTokenError:
    import httpx

    if isinstance(error, httpx.ProxyError):
        status = re.match(r"4\d\d\b", str(error))
        if status:
            wants = "wants a user and a password" if status[0] == "407" else f"does not lead to {_NAME}"
            return ConfigError(f"the proxy {wants}", hint="see HTTPS_PROXY and NO_PROXY")
    if isinstance(error, httpx.ProtocolError):
        # Over TLS the end of a connection cannot be told from its reset; and before the answer it is one.
        ended = tls if begun else str(error).startswith("Server disconnected")
        if not ended:
            return _foreign()
    return connection_failure(error, _NAME)
