"""One request of a login: google-auth says what is asked, this says how it is sent."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, ConfigError
from astro_token.transport.deadline import Deadline
from astro_token.transport.network import https_connection, tls_context
from astro_token_backends import network
from astro_token_backends.gcp.settings import endpoint, host_and_port, proxy_to

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from http.client import HTTPConnection, HTTPResponse
    from urllib.parse import SplitResult

__all__ = ["LoginRequest", "NoMetadataServerError", "connect", "trust"]

_BODY_LIMIT = 256 * 1024
_SEARCH_SECONDS = 0.6
_LONGEST_WAIT = 86400.0
_PASSING = frozenset({408, 425, 429})
_DENIALS = frozenset({401, 403})  # whoever says it
_BEYOND = 600
# Google's hosts that can be somewhere else, as in a private network.
_PLACES = {
    "sts.googleapis.com": "ASTRO_TOKEN_GCP_STS_ENDPOINT",
    "iamcredentials.googleapis.com": "ASTRO_TOKEN_GCP_IAM_ENDPOINT",
}
_ACTING = ":generateAccessToken"


class NoMetadataServerError(Exception):
    """There is none here, or none that has a credential; it stays inside of this package."""


@dataclass(frozen=True, slots=True, repr=False)
class _Answer:
    """As google-auth wants it: `google.auth.transport.Response`."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class _Question:
    address: SplitResult
    method: str
    body: bytes | None
    headers: Mapping[str, str]
    certificate: tuple[str, str] | None


class LoginRequest:
    """
    What google-auth sends through, in place of its own: one attempt each, none redirected.

    google-auth gets to see good answers only. It would try others again, and put them into its exceptions.

    Args:
        until: when all requests of the login have to be over, on the monotonic clock.

    Attributes:
        searching: it is not known yet whether there is a metadata server;
            what does not answer as one, and soon, is none.
        answered: there was an answer, so that what then goes wrong is not a matter of this machine.
    """

    def __init__(self, environ: Mapping[str, str], until: float) -> None:
        self.searching = False
        self.answered = False
        self._environ = environ
        self._until = until

    @property
    def seconds(self) -> float:
        """That are left."""
        return max(0.0, self._until - time.monotonic())

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> _Answer:
        seconds = min(self.seconds, timeout or self.seconds)
        if seconds <= 0:
            raise BackendUnavailableError("no time was left to log in", hint="try again later")
        address = urlsplit(url)
        network.refuse_clear_text(url)

        def once(seconds: float) -> _Answer:
            return self._send(_Question(address, method, body, headers or {}, options.get("cert")), seconds)

        if not self.searching:
            return self._good(address, once(seconds))
        try:
            # In a thread: looking up a host's name knows no timeout.
            answer = Deadline(min(_SEARCH_SECONDS, seconds)).once(once)
        except AstroTokenError:
            answer = None
        if answer is None or answer.headers.get("metadata-flavor") != "Google" or answer.status == 404:  # noqa: PLR2004
            raise NoMetadataServerError
        self.searching = False
        return self._good(address, answer)

    def _send(self, asked: _Question, seconds: float) -> _Answer:
        from http.client import HTTPConnection, HTTPException

        address = asked.address
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection: HTTPConnection | None = None
        failure: AstroTokenError | None
        try:
            if address.scheme == "https":
                context = trust(self._environ)
                if asked.certificate:
                    context.load_cert_chain(*asked.certificate)
                place = f"{address.hostname}:{address.port or 443}"
                if variable := _PLACES.get(address.hostname or ""):
                    place = endpoint(self._environ, variable, address.hostname or "")
                connection = connect(place, self._environ, context, seconds)
            else:
                connection = HTTPConnection(address.hostname or "", address.port, timeout=seconds)
            # A program may have set a level on http.client's class, and then every header is printed.
            connection.set_debuglevel(0)
            connection.request(
                asked.method, target, asked.body, {**asked.headers, "Accept-Encoding": "identity"}
            )
            answer = connection.getresponse()
            data = _body(answer)
            whole = len(data) <= _BODY_LIMIT and not answer.length  # which is what is still to come
            packed = answer.headers.get("Content-Encoding", "identity") != "identity"
            failure = None if whole and not packed else network.damaged()
        except (OSError, ValueError, HTTPException) as error:
            failure = login_failure(error)
        finally:
            if connection is not None:
                connection.close()
        if failure is not None:
            raise failure
        return _Answer(answer.status, _LowerCase(answer.headers), data)

    def _good(self, address: SplitResult, answer: _Answer) -> _Answer:
        self.answered = True
        status, kind = answer.status, answer.headers.get("content-type", "")
        if status == HTTPStatus.OK:
            return answer
        if status in _PASSING or HTTPStatus.INTERNAL_SERVER_ERROR <= status < _BEYOND:
            raise network.busy(_retry_after(answer.headers))
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise network.redirected()
        own = kind.partition(";")[0].strip().lower() == "application/json" and answer.data[:1] == b"{"
        own = own or answer.headers.get("metadata-flavor") == "Google"
        if status < HTTPStatus.BAD_REQUEST or not (own or status in _DENIALS):
            raise network.damaged()
        raise _refused(address)


def _body(answer: HTTPResponse) -> bytes:
    """As much as there is, up to what is too much."""
    data = b""
    while len(data) <= _BODY_LIMIT and (piece := answer.read1(_BODY_LIMIT)):
        data += piece
    return data


class _LowerCase(dict[str, str]):
    """Headers by their lower-case name, however they were sent."""

    def __init__(self, headers: Any) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})


def trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    """
    Whom a login trusts: the authorities that google-auth would, and ours.

    Raises:
        ConfigError: a file of them cannot be used.
    """
    import certifi

    own = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if environ.get(name)), None)

    context = tls_context()
    try:
        context.load_verify_locations(environ[own] if own else certifi.where())
    except OSError:
        pass
    else:
        return context
    raise ConfigError(
        f"the file of authorities that {own} names cannot be read", hint="name a PEM file, or unset it"
    )


def connect(
    place: str, environ: Mapping[str, str], context: ssl.SSLContext, seconds: float
) -> HTTPConnection:
    """A connection that is opened when it is used, by the proxy where there is one."""
    host, port = host_and_port(place)
    return https_connection(host, port, proxy_to(place, environ), context, seconds)


def login_failure(error: Exception) -> AstroTokenError:
    """What an exception of a connection means; its text is looked at and not passed on."""
    # http.client tells the status of a CONNECT in a text only.
    if re.match(r"Tunnel connection failed: 4\d\d\b", str(error)):
        return ConfigError("the proxy does not lead to Google Cloud", hint="see HTTPS_PROXY and NO_PROXY")
    return network.connection_failure(error) if isinstance(error, OSError) else network.damaged()


def _refused(address: SplitResult) -> AccessDeniedError:
    if address.path.endswith(_ACTING):
        return AccessDeniedError(
            "Google Cloud does not let this identity act as the service account",
            hint="grant iam.serviceAccounts.getAccessToken on the service account: "
            "roles/iam.workloadIdentityUser to a CI identity, roles/iam.serviceAccountTokenCreator to others "
            "(and see that the account exists)",
        )
    if address.hostname == "sts.googleapis.com":
        return AccessDeniedError(
            "Google Cloud does not accept the identity",
            hint="see the workload identity provider: that it exists, its issuer, its allowed audiences "
            "(ASTRO_TOKEN_GCP_AUDIENCE) and its attribute condition",
        )
    return AccessDeniedError(
        "Google Cloud does not accept the credential",
        hint="renew what GOOGLE_APPLICATION_CREDENTIALS names, or log in again with "
        "gcloud auth application-default login; check this machine's clock",
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    said = headers.get("retry-after", "").strip()
    return min(float(said), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,9}", said) else None
