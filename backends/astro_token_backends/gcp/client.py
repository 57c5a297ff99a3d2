"""
Calls of Google Cloud: the SDK defines the messages, gRPC sends them over a route of `transport`.

The SDK's own clients are not imported: they take half of a short command's time, and add retries
that are not used.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from contextlib import contextmanager

from astro_token.errors import AstroTokenError, BackendError, BackendUnavailableError
from astro_token.log import silence
from astro_token.record import Record
from astro_token.system.sdk_imports import import_sdk
from astro_token.transport.client import Client
from astro_token.transport.failure import damaged
from astro_token.transport.route import Route
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp import LOGGERS
from astro_token_backends.gcp.errors import sdk_error, status_failure
from astro_token_backends.gcp.login import Login
from astro_token_backends.gcp.settings import endpoint
from astro_token_backends.login import one_per_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Any

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.gcp.errors import Permission

__all__ = ["Connection", "GcpService", "Method", "time_of", "unknown"]

# A secret has at most 64 KiB, and so has the plaintext of a key.
_RESPONSE_LIMIT = 256 * 1024
_CA_VARIABLES = ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "REQUESTS_CA_BUNDLE")
_VERBOSITY = "GRPC_VERBOSITY"


class Method(Record):
    """
    A method of a service.

    Attributes:
        package: of the SDK. Its `types.service` defines the request.
        service: in gRPC.
        name: in the SDK's client, as in `get_secret`.
        response: the type, with its module in `types`.
        permission: for the hint of a denial.
        resource: the field with the name of the resource, which routes the request.
        is_iam: the messages are those of `google.iam.v1`, which all services share.
    """

    package: str
    service: str
    name: str
    response: str
    permission: Permission
    resource: str = "name"
    is_iam: bool = False


class Connection:
    """
    The login and the channels that all calls of a process share. The environment is read at first use.

    Args:
        credential: of google-auth, in place of the chain's.
    """

    def __init__(self, credential: Any = None) -> None:
        self.login = Login(credential)
        self._lock = allocate_lock()
        self._channels: dict[tuple[object, ...], Any] = {}

    def call(
        self,
        method: Method,
        route: Route,
        request: dict[str, Any],
        *,
        refused: Callable[[Any], AstroTokenError | None],
        seconds: float,
        injected: Any = None,
    ) -> Any:
        """
        Call a method once and return its response.

        Args:
            refused: returns the error for an exception of the SDK; None if it means the same in every call.
            injected: a client of the SDK, which brings its own login.

        Raises:
            AstroTokenError: a setting, the login, or the call.
        """
        until = time.monotonic() + seconds
        resource = request[method.resource]

        def left() -> float:
            return max(0.001, until - time.monotonic())

        def failure(error: Exception) -> AstroTokenError:
            error = sdk_error(error)
            if getattr(error, "code", None) == 401:  # noqa: PLR2004
                self.login.drop()  # the next attempt logs in again
            outcome = refused(error) or status_failure(
                error, method.permission, resource.split("/")[1], route
            )
            # gRPC gives no details if a connection fails.
            is_silent = getattr(error, "code", None) == 503 and not getattr(error, "details", None)  # noqa: PLR2004
            if is_silent and isinstance(outcome, BackendUnavailableError):
                return _connection_failure(route, left()) or outcome
            return outcome

        def send() -> Any:
            if injected is not None:
                # The SDK's own retries last a minute.
                return getattr(injected, method.name)(
                    request=request, retry=None, timeout=left(), metadata=[]
                )
            from urllib.parse import quote

            stub = self._stub(method, route, request)  # first: a setting may be wrong
            routing = ("x-goog-request-params", f"{method.resource}={quote(resource, safe='/')}")
            headers = [routing, *self.login.headers(left())]
            return stub(timeout=left(), metadata=headers)

        response = call_sdk(send, failure)
        if response is None:  # gRPC accepts a success without a message
            raise damaged(route)
        return response

    def forget(self) -> None:
        """Drop everything in a forked child without closing it: it belongs to the parent."""
        self._channels = {}
        self._lock = allocate_lock()
        self.login.forget()

    def close(self) -> None:
        with self._lock:
            channels, self._channels = self._channels, {}
        self.login.close()
        for channel in channels.values():
            channel.close()

    def _stub(self, method: Method, route: Route, request: dict[str, Any]) -> Callable[..., Any]:
        from functools import partial
        from importlib import import_module

        rpc = "".join(word.capitalize() for word in method.name.split("_"))
        if method.is_iam:
            shared = import_module("google.iam.v1.iam_policy_pb2")
            message = getattr(shared, f"{rpc}Request")
            serialize, deserialize = message.SerializeToString, getattr(shared, method.response).FromString
        else:
            module, _, name = method.response.rpartition(".")
            response = getattr(import_module(f"{method.package}.types.{module}"), name)
            message = getattr(import_module(f"{method.package}.types.service"), f"{rpc}Request")
            serialize, deserialize = message.serialize, response.deserialize
        stub = self._channel(route).unary_unary(
            f"/{method.service}/{rpc}",
            request_serializer=serialize,
            response_deserializer=deserialize,
        )
        return partial(stub, message(**request))

    def _channel(self, route: Route) -> Any:
        import grpc

        key = route.key
        with self._lock:
            if key not in self._channels:
                silence(LOGGERS)
                proxy, roots = route.proxy, route.trust.pem() if route.trust else None
                self._channels[key] = grpc.secure_channel(
                    route.address.authority,
                    grpc.ssl_channel_credentials(root_certificates=roots),
                    options=[
                        ("grpc.enable_retries", 0),
                        ("grpc.max_receive_message_length", _RESPONSE_LIMIT),
                        ("grpc.service_config_disable_resolution", 1),
                        # gRPC itself reads https_proxy and http_proxy.
                        ("grpc.http_proxy", proxy.url) if proxy else ("grpc.enable_http_proxy", 0),
                    ],
                )
            return self._channels[key]


def _connection_failure(route: Route, seconds: float) -> AstroTokenError | None:
    """Return the reason that gRPC does not give: unknown host, refused, or a certificate."""
    try:
        protocol = Client().probe(route, time.monotonic() + seconds, ("h2",))
    except AstroTokenError as error:
        return error
    return None if protocol == "h2" else damaged(route)  # a web server


# For secrets and keys alike.
_shared = one_per_process(Connection)


class GcpService:
    """
    A service of Google Cloud. One login serves all references.

    Args:
        client: the SDK's, which brings its own credentials.
        connection: in place of the process's.
    """

    _package: str

    def __init__(self, client: Any = None, *, connection: Connection | None = None) -> None:
        with _silent_grpc():  # a missing package has to show here
            types = f"{self._package}.types"
            import_sdk(f"{types}.service", unrun=(self._package, types))
            import_sdk("grpc", without={"grpc.aio": ()})
        self._injected = client
        self._connection = connection or _shared()

    def route(self, ref: SecretRef) -> Route:
        return call_sdk(lambda: self._route(ref), unknown)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002 (one for all)
        if self._injected is not None:
            return "the injected client"
        return call_sdk(lambda: self._connection.login.source(timeout), unknown)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:  # noqa: ARG002 (see above)
        if self._injected is None:
            call_sdk(lambda: self._connection.login.headers(timeout), unknown)

    def close(self) -> None:
        self._connection.close()

    def _route(self, ref: SecretRef) -> Route:
        raise NotImplementedError

    def _route_to(self, service: str, variable: str, host: str) -> Route:
        address = endpoint(os.environ, variable, host)
        return Route.to(address, os.environ, service=service, variable=variable, ca_variables=_CA_VARIABLES)


def time_of(resource: Any, name: str) -> datetime | None:
    """Return a time of a response; None if the service sent none."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(getattr(resource, name).timestamp(), UTC) if name in resource else None


def unknown(error: Exception) -> AstroTokenError:
    return BackendError(f"the backend of Google Cloud failed with {type(error).__name__}")


@contextmanager
def _silent_grpc() -> Iterator[None]:
    """Keep gRPC, which reads the variable at import, from printing headers and failed handshakes."""
    before = os.environ.get(_VERBOSITY)
    os.environ[_VERBOSITY] = "NONE"
    try:
        yield
    finally:
        del os.environ[_VERBOSITY]
        if before is not None:
            os.environ[_VERBOSITY] = before
