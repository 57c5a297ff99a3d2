"""Google Cloud Secret Manager: `gcp:PROJECT/SECRET`."""

from __future__ import annotations

import re
import time

from astro_token.errors import (
    AstroTokenError,
    InvalidRefError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
    changed_meanwhile,
)
from astro_token.record import Record
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.transport.failure import damaged
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.client import GcpService, Method, time_of, unknown
from astro_token_backends.gcp.errors import Permission, denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = ["SecretManager"]

_API = "secretmanager.googleapis.com"
_SDK = ("google.cloud.secretmanager_v1", "google.cloud.secretmanager.v1.SecretManagerService")
_READ = Permission(_API, "secret", "secretmanager.versions.access", "roles/secretmanager.secretAccessor")
_DESCRIBE = Permission(
    _API,
    "secret",
    "secretmanager.versions.get and secretmanager.secrets.get",
    "roles/secretmanager.viewer",
)
_WRITE = Permission(_API, "secret", "secretmanager.versions.add", "roles/secretmanager.secretVersionAdder")
_ACCESS = Method(*_SDK, "access_secret_version", "service.AccessSecretVersionResponse", _READ)
_GET_VERSION = Method(*_SDK, "get_secret_version", "resources.SecretVersion", _DESCRIBE)
_GET_SECRET = Method(*_SDK, "get_secret", "resources.Secret", _DESCRIBE)
_ADD = Method(*_SDK, "add_secret_version", "resources.SecretVersion", _WRITE, "parent")
_TEST = Method(*_SDK, "test_iam_permissions", "TestIamPermissionsResponse", _WRITE, "resource", is_iam=True)
_READS, _ADDS = "secretmanager.versions.access", "secretmanager.versions.add"
_LARGEST = 65536
_NAME = re.compile(
    r"projects/(?P<project>[^/]+)(?:/locations/(?P<location>[^/]+))?/secrets/(?P<secret>[^/]+)"
    r"(?:/versions/(?P<version>[^/]+))?"
)


class _Version(Record):
    """A version of a secret, in the service's terms."""

    project: str
    location: str | None
    secret: str
    number: str

    @property
    def parent(self) -> str:
        location = f"/locations/{self.location}" if self.location else ""
        return f"projects/{self.project}{location}/secrets/{self.secret}"

    @property
    def name(self) -> str:
        return f"{self.parent}/versions/{self.number}"

    @property
    def flags(self) -> str:
        """The flags of gcloud."""
        return f"--project={self.project}" + (f" --location={self.location}" if self.location else "")

    @property
    def host(self) -> str:
        return f"secretmanager.{self.location}.rep.googleapis.com" if self.location else _API


class SecretManager(GcpService):
    """
    Secrets of Google Cloud Secret Manager, global and regional.

    Reference: `gcp:PROJECT/SECRET[?version=V][#field]`,
    or the full name `gcp:projects/P[/locations/L]/secrets/S[/versions/V][#field]`.
    A version is a number, an alias or `latest`, which is the one created last, in any state.

    `credential_chain` lists the credentials; docs/gcp.md has the permissions and the number of requests.

    The service has no compare-and-set: the latest version is read right before another one is added.

    Args:
        client: the SDK's, for all locations, which brings its own credentials.
        connection: in place of the process's.
    """

    _package = _SDK[0]

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(ref, timeout), unknown)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return call_sdk(lambda: self._describe(ref, time.monotonic() + timeout), unknown)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """Add a version. A warning names a version that someone else added in the meantime."""
        return call_sdk(
            lambda: self._write(ref, value, expected_version, time.monotonic() + timeout), unknown
        )

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:
        """Request the permissions on the secret. Of a secret that does not exist there are none."""
        call_sdk(lambda: self._check_write(ref, timeout), unknown)

    def _check_write(self, ref: SecretRef, seconds: float) -> None:
        version = _version(ref)
        request = {"resource": version.parent, "permissions": [_READS, _ADDS]}
        granted = set(self._call(ref, _TEST, request, seconds).permissions)
        if granted == {_READS}:
            raise denied(_WRITE, version.project)

    def _route(self, ref: SecretRef) -> Route:
        return self._route_to("Secret Manager", "ASTRO_TOKEN_GCP_ENDPOINT", _version(ref).host)

    def _read(self, ref: SecretRef, seconds: float) -> SecretValue:
        import google_crc32c

        response = self._call(ref, _ACCESS, {"name": _version(ref).name}, seconds)
        payload, number = response.payload, _number(response.name, ref)
        # The service always sends a checksum, and the SDK never verifies it.
        is_intact = "data_crc32c" in payload and payload.data_crc32c == google_crc32c.value(payload.data)
        if not is_intact or number is None:
            raise damaged(self._route(ref))
        return SecretValue(payload.data, number)

    def _describe(self, ref: SecretRef, end: float) -> SecretMetadata:
        names = _version(ref)
        version = self._call(ref, _GET_VERSION, {"name": names.name}, end - time.monotonic())
        secret = self._call(ref, _GET_SECRET, {"name": names.parent}, end - time.monotonic())
        number = _number(version.name, ref)
        if number is None:
            raise damaged(self._route(ref))
        ends = [time_of(secret, "expire_time"), time_of(version, "scheduled_destroy_time")]
        return SecretMetadata(
            version=number,
            created=time_of(secret, "create_time"),
            updated=time_of(version, "create_time"),
            expires=min((end for end in ends if end), default=None),
            enabled=version.state.name == "ENABLED",
            labels=dict(secret.labels),
        )

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, end: float) -> str:
        import google_crc32c

        data, version = value.reveal(), _version(ref)
        if not 0 < len(data) <= _LARGEST:
            raise InvalidTokenError(f"Secret Manager stores from 1 to {_LARGEST} bytes")
        if expected is not None:
            # It is read, because a user who writes a token has the permission to read it.
            try:
                current = self._read(ref, end - time.monotonic()).version
            except SecretNotFoundError:
                current = "0"
            if current != expected:
                raise changed_meanwhile()
        request = {
            "parent": version.parent,
            "payload": {"data": data, "data_crc32c": google_crc32c.value(data)},
        }
        response = self._call(ref, _ADD, request, end - time.monotonic())
        number = _number(response.name, ref)
        if number is None or not response.client_specified_payload_checksum:
            raise damaged(self._route(ref))
        if expected not in {None, "0"} and int(number) > int(expected or 0) + 1:
            from astro_token.log import logger

            # Nothing has to be undone: the added version is the latest.
            logger.warning(
                "%s: someone else added version %d right before ours; %s is the latest now",
                version.parent,
                int(number) - 1,
                number,
            )
        return number

    def _call(self, ref: SecretRef, method: Method, request: Any, seconds: float) -> Any:
        version = _version(ref)
        return self._connection.call(
            method,
            self._route(ref),
            request,
            refused=lambda error: _refused(error, version, adding=method is _ADD),
            seconds=seconds,
            injected=self._injected,
        )


def _version(ref: SecretRef) -> _Version:
    name = ref.name
    if not name.startswith("projects/"):
        project, _, secret = name.partition("/")
        name = f"projects/{project}/secrets/{secret}"
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidRefError("not a reference of gcp: its name is malformed")
    number = match["version"] or ref.options.get("version", "latest")
    return _Version(match["project"], match["location"], match["secret"], number)


# -- responses ----------------------------------------------------------------------------------------


def _number(name: str, ref: SecretRef) -> str | None:
    """The number of a version; None for another secret. Responses name a project by its number."""
    match, version = _NAME.fullmatch(name), _version(ref)
    if not match or (match["location"], match["secret"]) != (version.location, version.secret):
        return None
    number = match["version"] or ""
    return number if re.fullmatch(r"[1-9][0-9]{0,18}", number) else None


# -- errors -------------------------------------------------------------------------------------------


def _refused(error: Any, version: _Version, *, adding: bool) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    match error:
        case sdk.NotFound():
            replication = "--replication-policy=automatic " if version.location is None else ""
            return SecretNotFoundError(
                "the secret or its version does not exist; a secret that expires is deleted",
                hint="check the project, the name and the version, or create the secret: "
                f"gcloud secrets create {version.secret} {replication}{version.flags}",
            )
        # The message is that of a version, and a new version has no state.
        case sdk.FailedPrecondition() if adding or "cryptoKeys/" in error.message or "KMS" in error.message:
            return UnusableSecretError(
                "the key of Cloud KMS that encrypts the secret cannot be used",
                hint=f"gcloud secrets describe {version.secret} {version.flags} names the key; "
                "check that it is enabled: gcloud kms keys versions list",
            )
        case sdk.FailedPrecondition() if "DISABLED" in error.message:
            number = "NUMBER" if version.number == "latest" else version.number
            return UnusableSecretError(
                "the version is disabled",
                hint="name another one (latest is the last, in any state), or enable it: gcloud secrets "
                f"versions enable {number} --secret={version.secret} {version.flags}",
            )
        case sdk.FailedPrecondition() if "DESTROYED" in error.message:
            return UnusableSecretError(
                "the version is destroyed",
                hint="write a new one, or name another one: latest is the last, in any state",
            )
        case sdk.FailedPrecondition():
            return UnusableSecretError(
                "the version cannot be used",
                hint="check its state, and the state of the key that encrypts the secret",
            )
        case sdk.OutOfRange():
            return None
        case sdk.BadRequest():
            return InvalidRefError(
                "Google Cloud does not accept the reference",
                hint="check the project, the name and the version",
            )
    return None
