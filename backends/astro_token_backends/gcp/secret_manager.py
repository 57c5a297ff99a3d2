"""Google Cloud Secret Manager: `gcp:PROJECT/SECRET`, through its client over gRPC."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    ConfigError,
    InvalidRefError,
    SecretNotFoundError,
)
from astro_token.secret import SecretValue
from astro_token_backends import network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token.ref import SecretRef

__all__ = ["SecretManager"]

_ENDPOINT = "ASTRO_TOKEN_GCP_ENDPOINT"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_NOISE = ("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "GRPC_VERBOSITY")


class SecretManager:
    """
    Reads a version of a secret, the one created last unless the reference says otherwise.

    Credentials: Application Default Credentials, which are the file of GOOGLE_APPLICATION_CREDENTIALS,
    that of gcloud, and the metadata server.
    Permissions: `secretmanager.versions.access` (role Secret Manager Secret Accessor).
    Reference: `gcp:my-project/astro-prod`.
    Requests: 1 with a service account's key.

    Args:
        client: the SDK's, for all locations; it brings its own credentials.
    """

    def __init__(self, client: Any = None) -> None:
        with _silence():
            import google.cloud.secretmanager_v1  # noqa: F401
            from google.api_core import client_logging

            # The SDK asks the environment once what it may log, payloads included.
            cast("Any", client_logging).initialize_logging()
        self._injected = client
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._lock = threading.Lock()

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        outcome = self._attempt(ref, timeout)
        if isinstance(outcome, AstroTokenError):
            raise outcome.with_traceback(None)
        return outcome

    def close(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.transport.close()

    def _attempt(self, ref: SecretRef, timeout: float) -> SecretValue | AstroTokenError:
        end = time.monotonic() + timeout
        name = _resource(ref)
        host = ""
        try:
            host = _host(name)
            client = self._injected or self._client(host)
            metadata = [] if self._injected else self._authorization(timeout)
            # The SDK's own retries are no part of the timeout, and last a minute.
            answer = client.access_secret_version(
                name=name, retry=None, timeout=max(0.001, end - time.monotonic()), metadata=metadata
            )
            return _value(answer)
        except AstroTokenError as error:
            return error
        except Exception as error:  # noqa: BLE001 (an SDK raises what it likes)
            return _translated(error, host, max(0.1, end - time.monotonic()))

    def _client(self, host: str) -> Any:
        import grpc
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
            SecretManagerServiceGrpcTransport,
        )

        with self._lock:
            if host not in self._clients:
                trusted = grpc.ssl_channel_credentials(root_certificates=_authorities())
                channel = grpc.secure_channel(host, trusted, options=[("grpc.enable_retries", 0)])
                transport = SecretManagerServiceGrpcTransport(host=host, channel=channel)
                self._clients[host] = SecretManagerServiceClient(transport=transport)
            return self._clients[host]

    def _authorization(self, timeout: float) -> list[tuple[str, str]]:
        """
        The headers of a credential, renewed where it has expired.

        Not left to the channel, to which a refused login is a service that is down.
        """
        import google.auth
        from google.oauth2 import service_account

        request: Any = _Request(timeout)
        with self._lock:
            if self._credentials is None:
                request.searching = True
                found: Any = google.auth.default(request=request, default_scopes=(_SCOPE,))[0]
                request.searching = False
                if isinstance(found, service_account.Credentials):
                    found = cast("Any", found).with_always_use_jwt_access(True)  # it signs for itself
                self._credentials = found
            if not self._credentials.valid:
                self._credentials.refresh(request)
            headers: dict[str, str] = {}
            self._credentials.apply(headers)
        return [(name.lower(), value) for name, value in headers.items()]


class _Request:
    """
    Makes the requests of a login, one attempt each and none redirected.

    Attributes:
        searching: it is not known yet whether there is a credential;
            no answer means that there is none, and is not asked for again.
    """

    def __init__(self, timeout: float) -> None:
        from google.auth.transport.requests import Request

        self.searching = False
        self._request = Request(network.session())
        self._end = time.monotonic() + timeout

    def __call__(self, url: str, **options: Any) -> Any:
        outcome = self._attempt(url, options)
        if isinstance(outcome, AstroTokenError):
            raise _no_credential() if self.searching else outcome
        return outcome

    def _attempt(self, url: str, options: dict[str, Any]) -> Any:
        from google.auth.exceptions import TransportError

        left = max(0.001, self._end - time.monotonic())
        options["timeout"] = min(left, 1.0 if self.searching else left)
        try:
            answer = self._request(url, allow_redirects=False, **options)
        except TransportError as error:
            return network.connection_failure(error)
        if answer.status in {408, 429} or answer.status >= 500:  # noqa: PLR2004
            return network.busy()
        return network.redirected() if 300 <= answer.status < 400 else answer  # noqa: PLR2004


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """
    Keeps an import from learning that payloads are to be printed on standard error.

    gRPC prints headers if asked to, and why a handshake failed in any case, unless it is told not to.
    """
    before = {name: os.environ.pop(name) for name in _NOISE if name in os.environ}
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        yield
    finally:
        del os.environ["GRPC_VERBOSITY"]
        os.environ.update(before)


def _resource(ref: SecretRef) -> str:
    name = ref.name
    if not name.startswith("projects/"):
        project, _, secret = name.partition("/")
        name = f"projects/{project}/secrets/{secret}"
    return name if "/versions/" in name else f"{name}/versions/{ref.options.get('version', 'latest')}"


def _host(resource: str) -> str:
    given = os.environ.get(_ENDPOINT)
    if given and not re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):\d{1,5}", given):
        raise ConfigError(
            f"the address in {_ENDPOINT} is refused", hint="give HOST:PORT; the connection is always TLS"
        )
    place = re.search(r"/locations/([^/]+)/", resource)
    return given or f"secretmanager.{f'{place[1]}.rep.' if place else ''}googleapis.com:443"


def _authorities() -> bytes:
    """The certificates that gRPC trusts, and ours: it takes all or nothing."""
    import pkgutil

    name = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
    own = os.environ.get(name)
    trusted = (
        network.trusted_by(own, name) if own else pkgutil.get_data("grpc", "_cython/_credentials/roots.pem")
    )
    return (trusted or b"") + b"\n" + (network.extra_authorities() or "").encode()


def _value(answer: Any) -> SecretValue | AstroTokenError:
    import google_crc32c

    payload = answer.payload
    version = re.search(r"/versions/([1-9]\d{0,18})$", answer.name)
    # The service always sends a checksum, and the SDK never looks at it.
    whole = "data_crc32c" in payload and payload.data_crc32c == google_crc32c.value(payload.data)
    return SecretValue(payload.data, version[1]) if whole and version else network.damaged()


def _translated(error: Exception, host: str, seconds: float) -> AstroTokenError:
    from google.api_core import exceptions as sdk
    from google.auth import exceptions as auth

    match error:
        case sdk.NotFound() | sdk.FailedPrecondition():
            return SecretNotFoundError(
                "there is no such secret or version, or it is disabled or destroyed",
                hint="check the project, the name and the version; latest is the last one, in whatever state",
            )
        case sdk.Forbidden():
            return AccessDeniedError(
                "Google Cloud denies access to the secret, or there is none in this project",
                hint="grant secretmanager.versions.access (role Secret Manager Secret Accessor) on it",
            )
        case auth.DefaultCredentialsError():
            return _no_credential()
        case sdk.Unauthorized() | auth.RefreshError():
            return AccessDeniedError(
                "Google Cloud does not accept the credential",
                hint="renew what GOOGLE_APPLICATION_CREDENTIALS names, or log in again with "
                "gcloud auth application-default login; check this machine's clock",
            )
        case sdk.BadRequest():
            return InvalidRefError(
                "Google Cloud does not accept the reference",
                hint="check the project, the name and the version",
            )
        case sdk.ServiceUnavailable():
            return _unavailable(host, seconds)
        case sdk.MethodNotImplemented() | sdk.Unknown() | sdk.DataLoss():
            return network.damaged()  # what is not gRPC, a web page for instance, ends here too
        case sdk.InternalServerError() if error.message == "Exception deserializing response!":
            return network.damaged()
        case sdk.TooManyRequests() | sdk.ServerError() | sdk.Conflict() | sdk.Cancelled():
            return network.busy()
    return BackendError(f"the SDK of Google Cloud failed with {type(error).__name__}")


def _unavailable(host: str, seconds: float) -> AstroTokenError:
    """Which of refused, unknown and not trusted it was: gRPC says the same of all, and we ask once more."""
    import socket
    import ssl

    name, _, port = host.rpartition(":")
    name = name.strip("[]")
    if not name or any(os.environ.get(variable) for variable in ("https_proxy", "grpc_proxy", "http_proxy")):
        return network.busy()
    try:
        context = ssl.create_default_context(cadata=_authorities().decode())
        with socket.create_connection((name, int(port)), seconds) as connection:
            context.wrap_socket(connection, server_hostname=name).close()
    except OSError as error:
        return network.connection_failure(error)
    return network.busy()


def _no_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "there is no Google Cloud credential",
        hint="set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login; looked for: "
        "that variable's file, the file of gcloud, the metadata server",
    )
