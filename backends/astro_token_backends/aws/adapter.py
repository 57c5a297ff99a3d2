"""
Send the requests of botocore over our transport.

botocore's event `before-send` takes a response in place of one that botocore would fetch itself.

Importing this module loads botocore.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, ConfigError
from astro_token.transport.client import BODY_LIMIT, Client, Response
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token_backends.aws.settings import Options

__all__ = ["MetadataSession", "Sender", "aws_route"]

_PROFILE_CA = "the profile's ca_bundle"
_OWN_CA = "verify"  # of Airflow, in messages
_METADATA_SECONDS = 1.0
_UNBOUNDED_SECONDS = 30.0
_READS = ("Get", "BatchGet", "Describe", "Decrypt", "Encrypt")  # and Encrypt changes nothing either
_DENIED = frozenset({401, 403})
_EXPLAINED = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(?:ErrorResponse|Error)\b")


def aws_route(url: str, ca_bundle: str = "", *, own_ca_bundle: str = "", is_metadata: bool = False) -> Route:
    """
    Choose the proxy and the CA bundle for an address.

    Args:
        ca_bundle: of the profile.
        own_ca_bundle: of the session's options, before all others.
        is_metadata: a container or an instance provides its role there.

    Raises:
        ConfigError: the address, or the proxy's address.
    """
    bundles = {_PROFILE_CA: ca_bundle, _OWN_CA: own_ca_bundle}
    origin = "/".join(url.split("/")[:3])
    variables = (
        name for name, value in os.environ.items() if name[:4] == "AWS_" and value.startswith(origin)
    )
    return Route.to(
        url,
        {**os.environ, **bundles},
        service="the metadata service" if is_metadata else "AWS",
        variable=next(variables, "the AWS profile" if is_metadata else "AWS_REGION"),
        ca_variables=(*([_OWN_CA] if own_ca_bundle else []), "AWS_CA_BUNDLE", _PROFILE_CA),
        login=is_metadata,
    )


class Sender:
    """
    Handler of `before-send` for all clients of a botocore session, those of its credential chain included.

    Args:
        sdk: the session, whose profile may name a CA bundle.
        options: of the session.

    Attributes:
        ca_bundle: the profile's, if the environment names none.
    """

    def __init__(self, sdk: Any, options: Options) -> None:
        self._client = Client()
        self._options = options
        self.ca_bundle = str(sdk.get_config_variable("ca_bundle") or "")
        self._of_thread = threading.local()

    def route(self, url: str, service: str) -> Route:
        """
        Args:
            service: botocore's name for it. The options' CA is for others than the token service.
        """
        own = "" if service == "sts" else self._options.ca_bundle
        return aws_route(url, self.ca_bundle, own_ca_bundle=own)

    @contextmanager
    def within(self, until: float, body_limit: int = BODY_LIMIT) -> Iterator[None]:
        """Bound the requests of this thread by the monotonic clock, and their responses by their size."""
        vars(self._of_thread).update(until=until, body_limit=body_limit)
        try:
            yield
        finally:
            vars(self._of_thread).clear()

    @property
    def until(self) -> float:
        until: float | None = getattr(self._of_thread, "until", None)
        return time.monotonic() + _UNBOUNDED_SECONDS if until is None else until

    def postpone(self, seconds: float) -> None:
        """Move the end of what this thread does."""
        self._of_thread.until = self.until + seconds

    @property
    def has_sent(self) -> bool:
        """True if this thread has sent a request since it entered `within`."""
        return hasattr(self._of_thread, "has_sent")

    def accepts(self, route: Route, until: float) -> bool:
        return self._client.accepts(route, until)

    def close(self) -> None:
        self._client.close()

    def __call__(self, request: Any, event_name: str, **_: Any) -> AWSResponse:
        is_read = event_name.rpartition(".")[2].startswith(_READS)
        route = self.route(request.url, event_name.split(".")[1])
        response = self.send(request, route, self.until, is_read=is_read)
        if failure := _failure(response):
            raise failure
        return _for_botocore(request, response)

    def send(self, request: Any, route: Route, until: float, *, is_read: bool) -> Response:
        self._of_thread.has_sent = True
        body = request.body
        return self._client.send(
            route,
            request.method,
            route.address.target,
            until=until,
            headers=request.headers,
            body=body.encode() if isinstance(body, str) else body,
            repeatable=is_read,
            limit=getattr(self._of_thread, "body_limit", BODY_LIMIT),
        )


class MetadataSession:
    """
    Replacement of botocore's HTTP session for the metadata service of a container or an instance.

    Args:
        is_configured: the environment names the service, so that a failure is an error.
            An instance's service may not exist.

    Attributes:
        failure: of the last request, if an instance's service accepts connections, and is busy or does not
            answer. Another login may be used instead, but a chain of references does not continue.
    """

    def __init__(self, sender: Sender, *, is_configured: bool = False) -> None:
        self._sender = sender
        self._is_configured = is_configured
        self.failure: AstroTokenError | None = None

    def send(self, request: Any) -> AWSResponse:
        from botocore.exceptions import EndpointConnectionError

        self.failure = None
        route = aws_route(request.url, self._sender.ca_bundle, is_metadata=True)
        until = min(self._sender.until, time.monotonic() + _METADATA_SECONDS)
        try:
            if not self._is_configured and not self._sender.accepts(route, until):
                raise EndpointConnectionError(endpoint_url=route.address.origin)  # this is not an instance
            response = self._sender.send(request, route, until, is_read=True)
        except AstroTokenError as error:
            if self._is_configured or isinstance(error, ConfigError):
                raise
            self.failure = error
        else:
            failure = response.failure()
            if isinstance(failure, BackendUnavailableError):
                if self._is_configured:
                    raise failure
                self.failure = failure
            return _for_botocore(request, response)
        raise EndpointConnectionError(endpoint_url=route.address.origin)


def _for_botocore(request: Any, response: Response) -> AWSResponse:
    body = response.body or b""
    raw = SimpleNamespace(stream=lambda *_, **__: iter([body]))
    return AWSResponse(request.url, response.status, response.headers, raw)


def _failure(response: Response) -> AstroTokenError | None:
    """The failure of a response, unless it is for botocore to parse: a result, or an explained error."""
    status = response.status
    if status >= 400 and status != 407 and _is_explained(response):  # noqa: PLR2004
        return None
    if failure := response.failure():
        return failure
    if status in _DENIED:
        return AccessDeniedError(
            "AWS, or a proxy in front of it, denies the request without a reason",
            hint=f"check the proxy, the VPC endpoint's policy, and {response.route.variable}",
        )
    # An emulator may call its JSON text; the fields that are missing from anything else are noticed later.
    media_type = response.media_type
    is_result = status == 200 and (media_type.startswith("text/") or re.search(r"\b(json|xml)\b", media_type))  # noqa: PLR2004
    return None if is_result else response.damaged()


def _is_explained(response: Response) -> bool:
    import json

    body = response.body or b""
    if response.headers.get("x-amzn-errortype") or _EXPLAINED.match(body):
        return True
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and not content.keys().isdisjoint({"__type", "code", "Code"})
