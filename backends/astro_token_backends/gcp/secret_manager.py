"""Google Cloud Secret Manager: `gcp:PROJECT/SECRET`, through its client over gRPC."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    InvalidRefError,
    InvalidTokenError,
    SecretNotFoundError,
    changed_meanwhile,
    result,
)
from astro_token.log import logger
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends import network
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.connection import Connection, quietly
from astro_token_backends.gcp.refusals import Need
from astro_token_backends.gcp.service import GcpService, unknown
from astro_token_backends.gcp.settings import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef

__all__ = ["SecretManager"]

_API = "secretmanager.googleapis.com"
_LARGEST = 65536
_NAME = re.compile(
    r"projects/(?P<project>[^/]+)(?:/locations/(?P<location>[^/]+))?/secrets/(?P<secret>[^/]+)"
    r"(?:/versions/(?P<version>[^/]+))?"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """A version of a secret, in the service's terms."""

    project: str
    location: str | None
    secret: str
    version: str

    @property
    def parent(self) -> str:
        place = f"/locations/{self.location}" if self.location else ""
        return f"projects/{self.project}{place}/secrets/{self.secret}"

    @property
    def name(self) -> str:
        return f"{self.parent}/versions/{self.version}"

    @property
    def flags(self) -> str:
        """As gcloud wants them."""
        return f"--project={self.project}" + (f" --location={self.location}" if self.location else "")

    @property
    def host(self) -> str:
        return f"secretmanager.{self.location}.rep.googleapis.com" if self.location else _API

    def need(self, permission: str, role: str) -> Need:
        return Need(permission, f"roles/secretmanager.{role}", "secret", self.project, _API)


class SecretManager(GcpService):
    """
    Secrets of Google Cloud Secret Manager, global and regional.

    Reference: `gcp:PROJECT/SECRET[?version=V][#field]`,
    or the full name `gcp:projects/P[/locations/L]/secrets/S[/versions/V][#field]`.
    A version is a number, an alias or `latest`, which is the one created last, whatever its state.

    Credentials: Application Default Credentials, which are the file of GOOGLE_APPLICATION_CREDENTIALS,
    that of gcloud, and the metadata server; where there are none,
    `ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER` with the CI system's identity.
    `ASTRO_TOKEN_GCP_SERVICE_ACCOUNT` acts as that account.

    Least permissions, on the secret, and roles that have them:

        read        secretmanager.versions.access                           secretmanager.secretAccessor
        write       that, and secretmanager.versions.add                    secretmanager.secretVersionAdder
        describe    secretmanager.versions.get, secretmanager.secrets.get   secretmanager.viewer

    Requests: 1 to read, 2 to describe, 2 to write where a version is expected, else 1.
    Before the first of a process come the login's: none with a service account's key,
    1 with a CI system's identity, 2 on a machine of Google's; 1 more to act as a service account.

    There is no compare-and-set: what is there is looked at right before a version is added.

    Args:
        client: the SDK's, for all locations; it brings its own credentials.
        connection: in place of the one that all of the process share.
    """

    def __init__(self, client: Any = None, *, connection: Connection | None = None) -> None:
        with quietly():
            import google.cloud.secretmanager_v1  # noqa: F401 (what is not installed has to show here)
        super().__init__(client, connection=connection)

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(_place(ref), timeout), unknown)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return call_sdk(lambda: self._describe(_place(ref), time.monotonic() + timeout), unknown)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """Adds a version. A warning names one that somebody else added between our look and it."""
        end = time.monotonic() + timeout
        return call_sdk(lambda: self._write(_place(ref), value, expected_version, end), unknown)

    def address(self, ref: SecretRef) -> str:
        return call_sdk(lambda: f"https://{self._host(_place(ref))}", unknown)

    def _read(self, place: _Place, seconds: float) -> SecretValue:
        answer = self._ask(
            place,
            lambda client, **options: client.access_secret_version(name=place.name, **options),
            place.need("secretmanager.versions.access", "secretAccessor"),
            seconds,
        )
        return _value(answer, place)

    def _describe(self, place: _Place, end: float) -> SecretMetadata:
        need = place.need("secretmanager.versions.get and secretmanager.secrets.get", "viewer")

        def ask(call: Callable[..., Any]) -> Any:
            return self._ask(place, call, need, max(0.001, end - time.monotonic()))

        version = ask(lambda client, **options: client.get_secret_version(name=place.name, **options))
        secret = ask(lambda client, **options: client.get_secret(name=place.parent, **options))
        number = _number(version.name, place)
        if number is None:
            raise network.damaged()
        ends = [_time(secret, "expire_time"), _time(version, "scheduled_destroy_time")]
        return SecretMetadata(
            version=number,
            created=_time(secret, "create_time"),
            updated=_time(version, "create_time"),
            expires=min((end for end in ends if end), default=None),
            enabled=version.state.name == "ENABLED",
            labels=dict(secret.labels),
        )

    def _write(self, place: _Place, value: SecretValue, expected: str | None, end: float) -> str:
        if not 0 < len(value.reveal()) <= _LARGEST:
            raise InvalidTokenError(f"Secret Manager keeps from 1 to {_LARGEST} bytes")
        current = None
        if expected is not None:
            current = self._current(place, max(0.001, end - time.monotonic()))
            if current != expected:
                raise changed_meanwhile()
        answer = self._ask(
            place,
            lambda client, **options: _add(client, place, value, options),
            place.need("secretmanager.versions.add", "secretVersionAdder"),
            max(0.001, end - time.monotonic()),
            adding=True,
        )
        number = _number(answer.name, place)
        if number is None or not answer.client_specified_payload_checksum:
            raise network.damaged()
        if current not in {None, "0"} and int(number) > int(current or 0) + 1:
            # There is nothing to take back: what was added is the newest, and is whole.
            logger.warning(
                "%s: somebody else added version %d right before ours, and %s is the latest now",
                place.parent,
                int(number) - 1,
                number,
            )
        return number

    def _current(self, place: _Place, seconds: float) -> str:
        """
        The number of the version that is read as latest; "0" where none can be read.

        Found by reading, for which whoever puts a token has the permission already.
        """
        try:
            return self._read(place, seconds).version or "0"
        except SecretNotFoundError:
            return "0"

    def _host(self, place: _Place) -> str:
        return endpoint(self._connection.environ, "ASTRO_TOKEN_GCP_ENDPOINT", place.host)

    def _ask(
        self,
        place: _Place,
        call: Callable[..., Any],
        need: Need,
        seconds: float,
        *,
        adding: bool = False,
    ) -> Any:
        return self._connection.ask(
            self._host(place),
            _client,
            call,
            need=need,
            meaning=lambda error: _meaning(error, place, adding=adding),
            seconds=seconds,
            injected=self._injected,
        )


def _client(channel: Any) -> Any:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceGrpcTransport,
    )

    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


def _place(ref: SecretRef) -> _Place:
    name = ref.name
    if not name.startswith("projects/"):
        project, _, secret = name.partition("/")
        name = f"projects/{project}/secrets/{secret}"
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidRefError("not a reference of gcp: its name is malformed")
    version = found["version"] or ref.options.get("version", "latest")
    return _Place(found["project"], found["location"], found["secret"], version)


# -- answers ------------------------------------------------------------------------------------------


def _value(answer: Any, place: _Place) -> SecretValue:
    import google_crc32c

    payload, number = answer.payload, _number(answer.name, place)
    # The service always sends a checksum, and the SDK never looks at it.
    whole = "data_crc32c" in payload and payload.data_crc32c == google_crc32c.value(payload.data)
    return result(SecretValue(payload.data, number) if whole and number else network.damaged())


def _add(client: Any, place: _Place, value: SecretValue, options: dict[str, Any]) -> Any:
    import google_crc32c

    payload = {"data": value.reveal(), "data_crc32c": google_crc32c.value(value.reveal())}
    return client.add_secret_version(parent=place.parent, payload=payload, **options)


def _number(name: str, place: _Place) -> str | None:
    """The number of a version of ours; the answer calls the project by its number, too."""
    found = _NAME.fullmatch(name)
    ours = found and (found["location"], found["secret"]) == (place.location, place.secret)
    return (
        found["version"]
        if found and ours and re.fullmatch(r"[1-9]\d{0,18}", found["version"] or "")
        else None
    )


def _time(resource: Any, name: str) -> datetime | None:
    return datetime.fromtimestamp(getattr(resource, name).timestamp(), UTC) if name in resource else None


# -- refusals -----------------------------------------------------------------------------------------


def _meaning(error: Exception, place: _Place, *, adding: bool) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    match error:
        case sdk.NotFound():
            placement = "--replication-policy=automatic " if place.location is None else ""
            return SecretNotFoundError(
                "there is no such secret or version; one that expires is deleted when it does",
                hint=f"see the project, the name and the version; gcloud secrets create {place.secret} "
                f"{placement}{place.flags} makes one",
            )
        # In the same words as of a version, which a new one has no state to be refused for.
        case sdk.FailedPrecondition() if adding or "cryptoKeys/" in error.message or "KMS" in error.message:
            return SecretNotFoundError(
                "the key of Cloud KMS that encrypts the secret cannot be used",
                hint="see that it is enabled: gcloud kms keys versions list; gcloud secrets describe "
                f"{place.secret} {place.flags} names it",
            )
        case sdk.FailedPrecondition() if "DISABLED" in error.message:
            return SecretNotFoundError(
                "the version is disabled",
                hint="name another one (latest is the last, in whatever state), or gcloud secrets versions "
                f"enable {_of_gcloud(place)} --secret={place.secret} {place.flags}",
            )
        case sdk.FailedPrecondition() if "DESTROYED" in error.message:
            return SecretNotFoundError(
                "the version is destroyed",
                hint="write a new one, or name another: latest is the last one, in whatever state",
            )
        case sdk.FailedPrecondition():
            return SecretNotFoundError(
                "the version is not in use",
                hint="see its state, and that of the key that encrypts the secret",
            )
        case sdk.OutOfRange():
            return None
        case sdk.BadRequest():
            return InvalidRefError(
                "Google Cloud does not accept the reference",
                hint="check the project, the name and the version",
            )
    return None


def _of_gcloud(place: _Place) -> str:
    return "NUMBER" if place.version == "latest" else place.version
