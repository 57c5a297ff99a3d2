"""
The HTTP transport of Azure's SDK, on ours: its vaults and its logins send everything through here.

Importing this module loads the SDK's core.
"""

from __future__ import annotations

import json
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from azure.core.pipeline.transport import HttpTransport
from azure.core.utils import case_insensitive_dict

from astro_token.errors import AstroTokenError
from astro_token.record import replace
from astro_token.transport.address import parse_address
from astro_token.transport.client import Client
from astro_token.transport.failure import damaged
from astro_token_backends.azure.errors import login_denial
from astro_token_backends.azure.settings import login_route, vault_route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.transport.client import Response
    from astro_token.transport.route import Route

__all__ = ["LoginTransport", "SdkResponse", "VaultTransport"]

_ALSO_BUSY = frozenset({410})  # the identity service of a machine is being updated


class SdkResponse:
    """
    A response as far as the SDK uses one. It has been read.

    Attributes:
        received: None for a response that no server sent.
    """

    reason = ""

    def __init__(
        self, request: Any, status: int, headers: Any, body: bytes | None, received: Response | None = None
    ) -> None:
        self.request, self.status_code, self.received = request, status, received
        self.headers = case_insensitive_dict(headers)
        self.content_type = self.headers.get("Content-Type")
        self.content = body or b""

    def text(self, encoding: str | None = None) -> str:
        return self.content.decode(encoding or "utf-8-sig")

    def json(self) -> Any:
        return json.loads(self.text())

    def read(self) -> bytes:
        return self.content


class _Transport(HttpTransport[Any, Any]):
    """The SDK opens and closes it for each client, but the connections belong to the login."""

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Attempt(threading.local):
    """
    The attempt of a thread, and the outcome of its last request, which an SDK's login does not tell.

    Attributes:
        until: its deadline, by the monotonic clock.
        denial: the error for a response of the login with a status of 400 or more.
    """

    until = 0.0
    failure: AstroTokenError | None = None
    denial: AstroTokenError | None = None

    @property
    def seconds(self) -> float:
        return max(0.0, self.until - time.monotonic())


class LoginTransport(_Transport):
    """
    Keeps the requests of an attempt within its timeout, and raises the failures that the SDK must not judge:
    it would follow a redirect, try again, and take a busy login service for one that denies access.
    """

    def __init__(self) -> None:
        self._client = Client()
        self.attempt = Attempt()

    def begin(self, timeout: float) -> None:
        self.attempt.until = time.monotonic() + timeout
        self.attempt.failure = self.attempt.denial = None

    def send(self, request: Any, **options: Any) -> SdkResponse:
        return self.send_over(None, request, **options)

    def send_over(self, route: Route | None, request: Any, **options: Any) -> SdkResponse:
        """Send a request of the SDK. Without a route it belongs to the login."""
        content = request.content if hasattr(request, "content") else request.data
        if isinstance(content, dict):
            content = urlencode(content)
        body = content.encode() if isinstance(content, str) else content
        # The SDK sets a timeout only to find out quickly whether this machine has an identity.
        seconds = options.get("connection_timeout", inf)
        received = self.exchange(
            request.method, request.url, request.headers, body, seconds=seconds, route=route
        )
        return SdkResponse(request, received.status, received.headers.items(), received.body, received)

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float = inf,
        route: Route | None = None,
    ) -> Response:
        self.attempt.failure = self.attempt.denial = None
        try:
            to = route or login_route(url)
            response = self._client.send(
                to,
                method,
                to.address.target,
                until=min(self.attempt.until, time.monotonic() + seconds),
                headers=headers,
                body=body,
                repeatable=method != "PUT",  # a POST logs in, wraps or unwraps
            )
            if route is None and response.status >= 400:  # noqa: PLR2004
                self.attempt.denial = login_denial(response)
            failure = response.failure(_ALSO_BUSY)
        except AstroTokenError as error:
            failure = error
        if failure is not None:
            self.attempt.failure = failure
            raise failure
        return response

    def end(self) -> None:
        """Close the idle connections."""
        self._client.close()


class VaultTransport(_Transport):
    """
    Sends the requests of a vault's client to that vault, and never to another host that a response names.

    Args:
        challenge: returns the vault's response to a request without a token, if it is known in advance.
            The SDK requests it first, once for each vault.
    """

    def __init__(self, transport: LoginTransport, host: str, challenge: Callable[[], str | None]) -> None:
        self._transport, self._host, self._challenge = transport, host, challenge

    def send(self, request: Any, **options: Any) -> SdkResponse:
        route = vault_route(self._host)
        address = parse_address(request.url)
        if address.origin != route.address.origin:
            raise damaged(route)
        if "Authorization" not in request.headers and (challenge := self._challenge()):
            headers = {"WWW-Authenticate": challenge, "Content-Type": "application/json"}
            return SdkResponse(request, 401, headers, b"{}")
        return self._transport.send_over(replace(route, address=address), request, **options)
