"""
The transport of Azure's SDK: every request of the vaults and of the logins goes through here.

Importing this module loads the SDK's core.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from azure.core.pipeline.transport import HttpTransport

from astro_token.errors import AstroTokenError, BackendUnavailableError
from astro_token_backends import network
from astro_token_backends.azure.answer import Answer
from astro_token_backends.azure.connections import Connections, Received

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "VaultWire", "Wire"]

_PASSING = frozenset({408, 410, 425, 429})  # 410: the identity service of a machine is being updated
_LONGEST_WAIT = 86400.0


class Wire(HttpTransport[Any, Any]):
    """
    Keeps the requests of an attempt within its timeout, and lets only those answers through that are for
    the SDK to judge: it would follow a redirect, try again, and take a busy login for one that refuses.
    """

    def __init__(self) -> None:
        self._connections = Connections()
        self._now = threading.local()

    def begin(self, timeout: float) -> None:
        self._now.until = time.monotonic() + timeout
        self._now.failure = self._now.answer = None

    @property
    def seconds(self) -> float:
        """What is left of the attempt."""
        until: float = self._now.until
        return max(0.0, until - time.monotonic())

    @property
    def failure(self) -> AstroTokenError | None:
        """What was wrong with the last request, which the error of an SDK's login does not tell."""
        failure: AstroTokenError | None = self._now.failure
        return failure

    @property
    def answer(self) -> Answer | None:
        """The last one, if it was a refusal."""
        answer: Answer | None = self._now.answer
        return answer

    def send(self, request: Any, **options: Any) -> Answer:
        # The SDK gives a limit only to find out quickly whether this machine has an identity.
        seconds = min(self.seconds, options.get("connection_timeout", self.seconds))
        self._now.failure = self._now.answer = None
        try:
            network.refuse_clear_text(request.url)
            received = self._exchange(request, time.monotonic() + seconds)
            answer = Answer(request, received)
            # One that was wanted holds a secret, and is nobody's business here.
            self._now.answer = answer if received.status >= 400 else None  # noqa: PLR2004
            failure = _not_for_the_sdk(answer)
        except AstroTokenError as error:
            failure = error
        if failure is not None:
            self._now.failure = failure
            raise failure
        return answer

    def open(self) -> None:
        """Nothing: connections are opened when they are needed."""

    def close(self) -> None:
        self._connections.close()

    def forget(self) -> None:
        self._connections.forget()
        self._now = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves it open: a login that is given back by the SDK is not the only one that uses it."""

    def _exchange(self, request: Any, until: float) -> Received:
        content = request.content if hasattr(request, "content") else request.data
        if isinstance(content, dict):
            content = urlencode(content)
        body = content.encode() if isinstance(content, str) else content
        failure: AstroTokenError
        try:
            return self._connections.exchange(request.method, request.url, request.headers, body, until)
        except (http.client.HTTPException, UnicodeError, OverflowError) as error:
            failure = network.connection_failure(error) if isinstance(error, OSError) else network.damaged()
        except OSError as error:
            failure = network.connection_failure(error)
        raise failure


class VaultWire(HttpTransport[Any, Any]):
    """
    What a vault's client sends through: to that vault and nowhere else, whatever a link in an answer says.

    Args:
        challenge: what the vault would answer to a request without a token, where that is known.
            The SDK asks for it first, once for each vault, which costs a request.
    """

    def __init__(self, wire: Wire, host: str, challenge: Callable[[], str | None]) -> None:
        self._wire, self._host, self._challenge = wire, host, challenge

    def send(self, request: Any, **options: Any) -> Answer:
        address = urlsplit(request.url)
        if address.scheme != "https" or address.netloc.lower() != self._host:
            raise network.damaged()
        if "Authorization" not in request.headers and (challenge := self._challenge()):
            headers = (("WWW-Authenticate", challenge), ("Content-Type", "application/json"))
            return Answer(request, Received(401, "Unauthorized", headers, b"{}"))
        return self._wire.send(request, **options)

    def open(self) -> None:
        """Nothing, as for the wire below it."""

    def close(self) -> None:
        """Leaves the wire open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the wire open."""


def _not_for_the_sdk(answer: Answer) -> AstroTokenError | None:
    """What an answer means that is not about us: one to wait for, one from somebody else."""
    status: int = answer.status_code
    if status in _PASSING or status >= 500:  # noqa: PLR2004
        return BackendUnavailableError(
            "the service is busy, or failed", hint="try again later", retry_after=_retry_after(answer)
        )
    if 300 <= status < 400:  # noqa: PLR2004
        return network.redirected()
    if not answer.whole and status not in {401, 403}:
        return network.damaged()
    return None


def _retry_after(answer: Answer) -> float | None:
    said = str(answer.headers.get("Retry-After", "")).strip()
    return min(float(said), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", said) else None
