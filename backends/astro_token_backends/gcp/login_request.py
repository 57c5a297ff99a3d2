"""One request of a login: google-auth defines it, `transport` sends it."""

from __future__ import annotations

import time
from types import SimpleNamespace

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError
from astro_token.transport.address import is_metadata, parse_address
from astro_token.transport.failure import damaged
from astro_token.transport.route import Route
from astro_token_backends.gcp.settings import endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from astro_token.transport.client import Client, Response

__all__ = ["LoginRequest", "NoMetadataServerError", "denied_credential", "is_of_credential"]

_METADATA_SECONDS = 1.0
_NOT_ACCEPTED = "Google Cloud does not accept the credential"
_NO_IDENTITY = "Google Cloud does not accept the identity"
_STS, _IAM = "sts.googleapis.com", "iamcredentials.googleapis.com"
# Google's hosts that a private network can have at another address.
_ENDPOINTS = {_STS: "ASTRO_TOKEN_GCP_STS_ENDPOINT", _IAM: "ASTRO_TOKEN_GCP_IAM_ENDPOINT"}


class NoMetadataServerError(Exception):
    """
    This machine has no metadata server, or it has no credential. It stays inside this package.

    Attributes:
        failure: the error of a server that accepts a connection and does not answer; None without a server.
    """

    def __init__(self, failure: AstroTokenError | None = None) -> None:
        super().__init__()
        self.failure = failure


class LoginRequest:
    """
    The `google.auth.transport.Request` of one login. It makes one attempt and follows no redirect.

    google-auth gets successful responses only: it would retry after others, and quote them in its exceptions.

    Args:
        until: the deadline of all requests of the login, by the monotonic clock.

    Attributes:
        probing: the next request decides if this machine has a metadata server.
    """

    def __init__(self, client: Client, environ: Mapping[str, str], until: float) -> None:
        self.probing = False
        self._client = client
        self._environ = environ
        self._until = until
        self._answered: Route | None = None

    @property
    def seconds(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> SimpleNamespace:
        if not self.seconds:
            raise BackendUnavailableError("no time was left to log in", hint="try again later")
        route = self._route(url, options.get("cert"))
        until = min(self._until, time.monotonic() + (timeout or self.seconds))
        probing, self.probing = self.probing, False
        if probing:
            until = min(until, time.monotonic() + _METADATA_SECONDS)

        def send() -> Response:
            target = route.address.target
            return self._client.send(route, method, target, until=until, headers=headers, body=body)

        if probing and not self._client.accepts(route, until):
            raise NoMetadataServerError
        response = _first_of_metadata(send) if probing else send()
        self._answered = route
        if failure := response.failure() or _failure(response):
            raise failure
        return SimpleNamespace(status=response.status, headers=response.headers, data=response.body)

    def damaged(self) -> AstroTokenError | None:
        """Return the error for a failure of google-auth: the response is damaged. None without a response."""
        return damaged(self._answered) if self._answered else None

    def _route(self, url: str, certificate: tuple[str, str] | None) -> Route:
        environ, service, variable = self._environ, "Google's login service", "the credential's file"
        address: Any = url
        try:
            address = parse_address(url)
            if self.probing or is_metadata(address.host):
                service, variable = "the metadata server", "GCE_METADATA_HOST"
            elif address.host in _ENDPOINTS and address.scheme == "https":
                variable = _ENDPOINTS[address.host]
                address = endpoint(environ, variable, address.host, address.target)
        except ValueError:
            pass  # Route.to refuses it
        return Route.to(
            address,
            environ,
            service=service,
            variable=variable,
            ca_variables=("REQUESTS_CA_BUNDLE",),
            client_certificate=(*certificate, "the certificate configuration") if certificate else None,
            login=True,
        )


def _first_of_metadata(send: Callable[[], Response]) -> Response:
    try:
        response = send()
    except AstroTokenError as error:
        failure: AstroTokenError | None = error
    else:
        if _is_metadata_server(response) and response.status != 404:  # noqa: PLR2004
            return response
        failure = None
    raise NoMetadataServerError(failure)


def _is_metadata_server(response: Response) -> bool:
    return str(response.headers.get("Metadata-Flavor")) == "Google"


def _failure(response: Response) -> AstroTokenError | None:
    status = response.status
    if status == 200:  # noqa: PLR2004
        return None
    # Google refuses in JSON. 401 and 403 are a denial whoever sends them.
    is_google = _is_metadata_server(response) or response.json() is not None
    if status < 400 or not (is_google or status in {401, 403}):  # noqa: PLR2004
        return response.damaged()
    return _refused(response.route)


def _refused(route: Route) -> AccessDeniedError:
    if route.address.target.endswith(":generateAccessToken"):
        return AccessDeniedError(
            "Google Cloud does not let this identity act as the service account",
            hint="grant iam.serviceAccounts.getAccessToken on the service account: "
            "roles/iam.workloadIdentityUser to a CI identity, "
            "roles/iam.serviceAccountTokenCreator to others; "
            "check that the account exists",
        )
    if route.variable == _ENDPOINTS[_STS]:
        return AccessDeniedError(
            _NO_IDENTITY,
            hint="check the workload identity provider: its name, its issuer, its allowed audiences "
            "(ASTRO_TOKEN_GCP_AUDIENCE) and its attribute condition",
        )
    return denied_credential()


def denied_credential() -> AccessDeniedError:
    import os

    from astro_token.ci import in_ci

    again = "" if in_ci(os.environ) else ", or log in again with gcloud auth application-default login"
    return AccessDeniedError(
        _NOT_ACCEPTED,
        hint=f"renew the file in GOOGLE_APPLICATION_CREDENTIALS{again}; check this machine's clock",
    )


def is_of_credential(error: AstroTokenError) -> bool:
    """True if Google refuses the credential itself, and not what it is used for."""
    return error.message in {_NOT_ACCEPTED, _NO_IDENTITY}
