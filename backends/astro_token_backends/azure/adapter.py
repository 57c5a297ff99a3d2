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
from astro_token.system.programs import settle_platform
from astro_token.transport.address import parse_address
from astro_token.transport.client import Client
from astro_token.transport.deadline import extend_attempt
from astro_token.transport.failure import damaged
from astro_token_backends.azure.errors import login_denial
from astro_token_backends.azure.settings import login_route, vault_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.transport.route import Route

__all__ = ["LoginTransport", "SdkResponse", "VaultTransport"]

settle_platform()  # the SDK's user agents contain it; without this it starts `uname`

_LINE_ENDS = str.maketrans("", "", "\r\n")
_ALSO_BUSY = frozenset({410})  # the identity service of a machine is being updated


class SdkResponse:
    """
    A response as far as the SDK uses one. It has been read.

    Attributes:
        received: the response of the transport; None if no server sent it.
    """

    reason = ""

    def __init__(self, request: Any, status: int, headers: Any, body: bytes | None, received: Any) -> None:
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
        silence: the error of a machine's identity service that accepts connections and does not answer.
    """

    until = 0.0
    failure: AstroTokenError | None = None
    denial: AstroTokenError | None = None
    silence: AstroTokenError | None = None

    @property
    def seconds(self) -> float:
        return max(0.0, self.until - time.monotonic())

    def extend(self) -> None:
        """Let the attempt last until the deadline of the whole call."""
        self.until = max(self.until, time.monotonic() + extend_attempt())


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
        self.attempt.failure = self.attempt.denial = self.attempt.silence = None

    def send(self, request: Any, *, route: Route | None = None, **options: Any) -> SdkResponse:
        """Send a request of the SDK. Without a route it belongs to the login."""
        content = request.content if hasattr(request, "content") else request.data
        content = urlencode(content) if isinstance(content, dict) else content
        # The SDK sets a timeout only to find out quickly whether this machine has an identity.
        until = min(self.attempt.until, time.monotonic() + options.get("connection_timeout", inf))
        self.attempt.failure = self.attempt.denial = None
        is_there = False
        try:
            # The SDK takes the line end of a variable, such as IDENTITY_ENDPOINT, for a part of its value.
            to = route or login_route(request.url.translate(_LINE_ENDS))
            if "connection_timeout" in options:
                self._client.probe(to, until)
                is_there = True
            response = self._client.send(
                to,
                request.method,
                to.address.target,
                until=until,
                headers={name: value.rstrip("\r\n") for name, value in request.headers.items()},
                body=content.encode() if isinstance(content, str) else content,
                repeatable=request.method != "PUT",  # a POST logs in, wraps or unwraps
            )
            if route is None and response.status >= 400:  # noqa: PLR2004
                self.attempt.denial = login_denial(response)
            failure = response.failure(_ALSO_BUSY)
        except AstroTokenError as error:
            failure = error
            if is_there:
                self.attempt.silence = error
        if failure is not None:
            self.attempt.failure = failure
            raise failure
        return SdkResponse(request, response.status, response.headers.items(), response.body, response)

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
            return SdkResponse(request, 401, headers, b"{}", None)
        return self._transport.send(request, route=replace(route, address=address), **options)
