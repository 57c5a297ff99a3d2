"""Requests to the Astro API, with a token as the bearer."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from astro_token.astro_api.address import API_VARIABLE, api_route
from astro_token.astro_api.rate import PER_SECOND, Rate
from astro_token.astro_api.records import repeats
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    result,
    sanitized,
)
from astro_token.record import Record
from astro_token.transport.client import Client
from astro_token.transport.failure import timestamp
from astro_token.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue
    from astro_token.transport.client import Response

__all__ = ["ApiResponse", "AstroApi", "support_hint"]

_BODY_LIMIT = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_OK, _NO_CONTENT, _BAD, _UNAUTHORIZED, _FORBIDDEN, _MISSING, _TOO_MANY = 200, 204, 400, 401, 403, 404, 429


class ApiResponse(Record):
    """
    A response of Astro itself, not of a server on the route.

    Attributes:
        status: 200, 204, 400, 401, 403 or 404.
        content: the body of a 200; empty for another status, because its texts are not shown.
        request_id: identifies the request to Astronomer's support.
        ahead: seconds by which Astro's clock is ahead of ours; None without a usable date.
    """

    status: int
    content: Mapping[str, Any] = MappingProxyType({})
    request_id: str | None = None
    ahead: float | None = None


class AstroApi:
    """
    The connections to the API, shared by all tokens and threads. `close()` ends them.

    Raises:
        ConfigError: the address of the API or of the proxy, or a CA file, cannot be used.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.route = api_route(os.environ if environ is None else environ)
        if self.route.trust:
            self.route.trust.context()  # an unusable CA file is reported before a secret is read
        self._client = Client()
        self._rates = {method: Rate(count) for method, count in PER_SECOND.items()}

    def get(self, path: str, bearer: SecretValue, *, timeout: float) -> ApiResponse:
        """Send a GET request, as `send` does."""
        return self.send("GET", path, bearer, timeout=timeout)

    def send(
        self,
        method: str,
        path: str,
        bearer: SecretValue,
        *,
        body: Mapping[str, Any] | None = None,
        limit: int = _BODY_LIMIT,
        timeout: float,
    ) -> ApiResponse:
        """
        Send one request. An error holds nothing of a response but its request id.

        After a `BackendUnavailableError` without `outcome_known`, a POST or DELETE may have succeeded.

        Args:
            path: below `/v1`, made of identifiers.
            limit: the largest size of the response, in bytes.

        Raises:
            AccessDeniedError: another server on the route denies the request.
            BackendDownError: the host name is unknown.
            BackendUnavailableError: the API cannot be reached, is busy, or does not answer in time.
            ConfigError: the proxy refuses.
            IntegrityError: no trusted TLS, a redirect, or a response that is damaged or of another service.
        """
        until = time.monotonic() + timeout
        rate = self._rates[method]
        with rate.turn(bearer, timeout):
            outcome = self._outcome(method, path, bearer, until, body=body, limit=limit)
            if isinstance(outcome, BackendUnavailableError) and outcome.retry_after is not None:
                rate.postpone(bearer, outcome.retry_after)
        return result(outcome)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # It returns errors instead of raising them: a traceback would lead to the header in this frame.

    def _outcome(
        self,
        method: str,
        path: str,
        bearer: SecretValue,
        until: float,
        *,
        body: Mapping[str, Any] | None,
        limit: int,
    ) -> ApiResponse | AstroTokenError:
        import platform

        headers = {
            "Authorization": f"Bearer {bearer.reveal().decode('ascii')}",
            "Accept": "application/json",
            "X-API-Version": "1.0",  # without it the newest minor version answers
            "X-Astro-Client-Identifier": "script",
            "X-Astro-Client-Version": __version__,
            "X-Client-OS-Identifier": f"{sys.platform}-{platform.machine()}",
        }
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            target = f"{self.route.address.target}/{path}"
            response = self._client.send(
                self.route, method, target, until=until, headers=headers, body=data, limit=limit
            )
            return _evaluated(response, bearer, is_deletion=method == "DELETE")
        except AstroTokenError as error:
            return sanitized(error)


def support_hint(request_id: str | None) -> str:
    """The end of a hint: the request id for Astronomer's support, if there is one."""
    return f"; for Astronomer's support: request {request_id}" if request_id else ""


def _evaluated(
    response: Response, bearer: SecretValue, *, is_deletion: bool
) -> ApiResponse | AstroTokenError:
    status, content = response.status, response.json()
    request_id = _request_id(response.headers, content, bearer)
    if failure := response.failure():
        if isinstance(failure, BackendUnavailableError):
            failure.outcome_known = status == _TOO_MANY
            failure.hint = f"{failure.hint}{support_hint(request_id)}"
        return failure
    if status == _NO_CONTENT and is_deletion and not response.body:
        return ApiResponse(status, request_id=request_id, ahead=_ahead(response.headers))
    if status == _OK and content is not None:
        return ApiResponse(status, content, request_id, _ahead(response.headers))
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        # Astro's gateway sends plain text. A page comes from a proxy or a portal.
        if response.media_type == "text/html":
            return AccessDeniedError(
                f"the server at {API_VARIABLE} is not Astro's API, and denies the request (status {status})",
                hint=f"check HTTPS_PROXY, NO_PROXY and {API_VARIABLE}",
            )
    elif (
        status not in {_BAD, _MISSING}
        or content is None
        or content.get("statusCode") != status
        or "requestId" not in content
    ):
        return response.damaged()
    return ApiResponse(status, request_id=request_id, ahead=_ahead(response.headers))


def _request_id(
    headers: Mapping[str, str], content: Mapping[str, Any] | None, bearer: SecretValue
) -> str | None:
    for value in (headers.get("X-Request-Id"), (content or {}).get("requestId")):
        if isinstance(value, str) and _REQUEST_ID.fullmatch(value) and not repeats(value, bearer):
            return value
    return None


def _ahead(headers: Mapping[str, str]) -> float | None:
    if "Age" in headers:  # the date of a cached response is older
        return None
    date = timestamp(headers.get("Date", ""))
    return None if date is None else date - time.time()
