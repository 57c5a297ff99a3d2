"""
A strict Google Secret Manager, Parameter Manager and Cloud KMS, over gRPC and TLS,
made of the official message types.

    with GcpServer(certificates.server) as gcp:
        gcp.put("projects/p1/secrets/api", b"…")
        client_with(api_endpoint=gcp.endpoint, token=gcp.identities.issue()).access_secret_version(…)

It refuses what the service refuses:

    a missing, unknown or expired bearer token,
    a token signed by a service account whose signature, time or audience is wrong   UNAUTHENTICATED
    a principal that was not granted the permission                                  PERMISSION_DENIED
    a malformed name, a routing header that names another resource,
    a checksum that does not fit the data, an empty or too large payload             INVALID_ARGUMENT
    a stale etag; access to a version that is disabled or destroyed;
    access and a new version where the key that encrypts the secret is disabled      FAILED_PRECONDITION

As in the service, "latest" is the version created last, whatever its state,
and resources are called by their project's number, however they were asked for.
Regional secrets are served here beside the global ones; the service has an endpoint for each region.
A secret that expires is deleted when it does.
Not covered: IAM policies, tags, rotation topics. The keys are in `gcp_kms`,
the parameters in `gcp_parameters`.
"""

from __future__ import annotations

import re
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import unquote

import google_crc32c
import grpc
from google.cloud.kms_v1 import types as kms
from google.cloud.secretmanager_v1 import types as sm
from google.iam.v1 import iam_policy_pb2 as iam
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.servers.gcp_identity import Identities, UnauthenticatedError
from tests.servers.gcp_kms import Keys
from tests.servers.gcp_parameters import PARAMETERS, Parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.certificates import Pair

Code = grpc.StatusCode
State = sm.SecretVersion.State

_PARENT = r"projects/(?P<project>[a-z0-9][a-z0-9.:-]*)(?P<place>/locations/[a-z0-9-]+)?"
_SECRET = rf"{_PARENT}/secrets/(?P<secret>[A-Za-z0-9_-]{{1,255}})"
_VERSION = rf"(?P<parent>{_SECRET})/versions/(?P<version>[A-Za-z0-9_-]+)"
_LARGEST = 65536
_ENABLED = "ENABLED"
_FIRST_NUMBER = 100_000_000_001

_TEST = "TestIamPermissions"  # takes no permission

# Of each method: its messages, the field that the routing header has to carry, and the permission it takes.
_SECRETS: dict[str, tuple[Any, Any, str, str]] = {
    "CreateSecret": (sm.CreateSecretRequest, sm.Secret, "parent", "secrets.create"),
    "GetSecret": (sm.GetSecretRequest, sm.Secret, "name", "secrets.get"),
    "UpdateSecret": (sm.UpdateSecretRequest, sm.Secret, "secret.name", "secrets.update"),
    "DeleteSecret": (sm.DeleteSecretRequest, None, "name", "secrets.delete"),
    "AddSecretVersion": (sm.AddSecretVersionRequest, sm.SecretVersion, "parent", "versions.add"),
    "GetSecretVersion": (sm.GetSecretVersionRequest, sm.SecretVersion, "name", "versions.get"),
    "ListSecretVersions": (
        sm.ListSecretVersionsRequest,
        sm.ListSecretVersionsResponse,
        "parent",
        "versions.list",
    ),
    "AccessSecretVersion": (
        sm.AccessSecretVersionRequest,
        sm.AccessSecretVersionResponse,
        "name",
        "versions.access",
    ),
    "EnableSecretVersion": (sm.EnableSecretVersionRequest, sm.SecretVersion, "name", "versions.enable"),
    "DisableSecretVersion": (sm.DisableSecretVersionRequest, sm.SecretVersion, "name", "versions.disable"),
    "DestroySecretVersion": (sm.DestroySecretVersionRequest, sm.SecretVersion, "name", "versions.destroy"),
    _TEST: (iam.TestIamPermissionsRequest, iam.TestIamPermissionsResponse, "resource", ""),
}
_KEYS: dict[str, tuple[Any, Any, str, str]] = {
    "Encrypt": (kms.EncryptRequest, kms.EncryptResponse, "name", "cryptoKeyVersions.useToEncrypt"),
    "Decrypt": (kms.DecryptRequest, kms.DecryptResponse, "name", "cryptoKeyVersions.useToDecrypt"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    What meets the next call in place of the service.

    Attributes:
        code: the status; None serves the call after all.
        text: the status's text.
        retry_after: seconds to wait, sent as the `RetryInfo` of the status.
        delay: seconds before anything happens; ends when the client gives up.
        reason: a word of the service's, sent as the `ErrorInfo` of the status.
        metadata: bytes of metadata that are sent behind it.
    """

    code: grpc.StatusCode | None
    text: str = "a fault"
    retry_after: float | None = None
    delay: float = 0.0
    reason: str | None = None
    metadata: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call; the metadata holds the credential."""

    method: str
    time: float
    metadata: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class _Version:
    resource: sm.SecretVersion
    data: bytes = field(repr=False)


class _Secret:
    def __init__(self, resource: sm.Secret) -> None:
        self.resource = resource
        self.versions: list[_Version] = []
        self.key_state = _ENABLED
        self._generation = 0
        self.touch()

    def touch(self) -> None:
        self._generation += 1
        self.resource.etag = f'"{self._generation:x}"'


class GcpServer:
    """
    Args:
        pair: the certificate it shows.
        identities: shared with other servers that issue tokens for this one.

    Attributes:
        endpoint: `host:port`, for `api_endpoint`.
        keys: Cloud KMS.
        parameters: Parameter Manager.
        latency: seconds that are added to each call.
        before: what to do right before the next call of a method, by its name, as somebody else.
        identities: issues tokens and service accounts.
        faults: taken one by each call, before anything else.
        damage: taken one by each access that succeeds: `checksum` (a wrong one), `data` (a flipped bit),
            `no-checksum`, `no-payload`, `huge` (1 MB), `other-secret`; `unchecked` by an added version.
            For the keys' see `gcp_kms`.
        seen: every call.
    """

    def __init__(self, pair: Pair, *, identities: Identities | None = None) -> None:
        self.identities = identities or Identities()
        self.faults: list[Fault] = []
        self.damage: list[str] = []
        self.seen: list[Call] = []
        self._secrets: dict[str, _Secret] = {}
        self._numbers: dict[str, int] = {}
        self._grants: dict[str, frozenset[str]] = {}
        self._lock = threading.RLock()
        self.latency = 0.0
        self.before: dict[str, Callable[[], object]] = {}
        self.keys = Keys(self.damage)
        self.parameters = Parameters(self._data_of, self.project_number, self.damage)
        self._pool = futures.ThreadPoolExecutor(64, thread_name_prefix="gcp")
        self._server = grpc.server(self._pool, options=[("grpc.max_metadata_size", 1 << 20)])
        self._serve("google.cloud.secretmanager.v1.SecretManagerService", "secretmanager", self, _SECRETS)
        self._serve("google.cloud.kms.v1.KeyManagementService", "cloudkms", self.keys, _KEYS)
        service = "google.cloud.parametermanager.v1.ParameterManager"
        self._serve(service, "parametermanager", self.parameters, PARAMETERS)
        credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
        self.port: int = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.endpoint = f"127.0.0.1:{self.port}"
        self._server.start()

    # -- for tests ---------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> str:
        """Adds a version to a secret, which is made if need be; returns the version's number."""
        with self._lock:
            secret = self._secrets.get(self._canonical(name)) or self._make(name, sm.Secret())
            return self._add(secret, data, checked=True).name.rpartition("/")[2]

    def create(self, name: str) -> None:
        """Makes a secret that has no version yet."""
        with self._lock:
            self._make(name, sm.Secret())

    def set_state(self, name: str, version: str, state: str) -> None:
        """`ENABLED`, `DISABLED` or `DESTROYED`."""
        with self._lock:
            found = self._secrets[self._canonical(name)].versions[int(version) - 1]
            found.resource.state = getattr(State, state)

    def set_key_state(self, name: str, state: str) -> None:
        """Of the key that encrypts the secret: `ENABLED`, `DISABLED`, `DESTROYED`."""
        with self._lock:
            self._secrets[self._canonical(name)].key_state = state

    def expire(self, name: str, when: datetime) -> None:
        with self._lock:
            self._secrets[self._canonical(name)].resource.expire_time = when

    def label(self, name: str, **labels: str) -> None:
        with self._lock:
            self._secrets[self._canonical(name)].resource.labels = labels

    def set_aliases(self, name: str, aliases: dict[str, int]) -> None:
        with self._lock:
            secret = self._secrets[self._canonical(name)]
            secret.resource.version_aliases = aliases
            secret.touch()

    def restrict(self, principal: str, *permissions: str) -> None:
        """
        Leaves a principal these permissions, with or without the service's name: `versions.access`.

        Without this it has all.
        """
        self._grants[principal] = frozenset(permissions)

    def project_number(self, project: str) -> str:
        if project.isdigit():
            return project
        with self._lock:
            return str(self._numbers.setdefault(project, _FIRST_NUMBER + len(self._numbers)))

    def forget(self) -> None:
        """Drops what was seen, faults that nobody met, and restrictions; the secrets stay."""
        self._grants.clear()
        self.seen.clear()
        self.faults.clear()
        self.damage.clear()
        self.before.clear()
        self.latency = 0.0

    def close(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what all methods have in common -----------------------------------------------------

    def _serve(
        self, service: str, api: str, implementation: object, methods: dict[str, tuple[Any, Any, str, str]]
    ) -> None:
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                self._guard(getattr(implementation, method), routed, f"{api}.{permission}"),
                request_deserializer=getattr(request, "deserialize", None) or request.FromString,
                response_serializer=_serializer(response),
            )
            for method, (request, response, routed, permission) in methods.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _guard(self, serve: Callable[..., Any], routed: str, permission: str) -> Callable[..., Any]:
        method = serve.__name__

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            self.seen.append(Call(method, time.monotonic(), metadata))
            time.sleep(self.latency)
            if meanwhile := self.before.pop(method, None):
                meanwhile()
            self._meet_fault(context)
            principal = self._authenticate(metadata, context)
            resource = request
            for part in routed.split("."):
                resource = getattr(resource, part)
            if unquote(metadata.get("x-goog-request-params", "")) != f"{routed}={resource}":
                context.abort(Code.INVALID_ARGUMENT, "The routing header does not fit the request.")
            grants = self._grants.get(principal, {permission})
            if method != _TEST and not grants & {permission, permission.partition(".")[2]}:
                denied = f"Permission '{permission}' denied for resource '{resource}'"
                context.abort(Code.PERMISSION_DENIED, f"{denied} (or it may not exist).")
            with self._lock:
                return serve(request, context)

        return call

    def _meet_fault(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
        if fault is None:
            return
        if fault.delay:
            gone = threading.Event()
            if not context.add_callback(gone.set) or gone.wait(fault.delay):
                context.abort(Code.CANCELLED, "The client has given up.")
        if fault.code is None:
            return
        details = []
        if fault.retry_after is not None:
            wait = duration_pb2.Duration()
            wait.FromMilliseconds(round(fault.retry_after * 1000))
            packed = any_pb2.Any()
            packed.Pack(error_details_pb2.RetryInfo(retry_delay=wait))
            details.append(packed)
        if fault.reason is not None:
            packed = any_pb2.Any()
            packed.Pack(error_details_pb2.ErrorInfo(reason=fault.reason, domain="googleapis.com"))
            details.append(packed)
        status = status_pb2.Status(code=fault.code.value[0], message=fault.text, details=details)
        trailing = [("grpc-status-details-bin", status.SerializeToString())] if details else []
        trailing += [("x-padding", "a" * fault.metadata)] if fault.metadata else []
        context.set_trailing_metadata(tuple(trailing))
        context.abort(fault.code, fault.text)

    def _authenticate(self, metadata: dict[str, str], context: grpc.ServicerContext) -> str:
        scheme, _, bearer = metadata.get("authorization", "").partition(" ")
        try:
            return self.identities.principal(bearer if scheme == "Bearer" else "")
        except UnauthenticatedError as error:
            reason = str(error)
        context.abort(Code.UNAUTHENTICATED, reason)
        raise AssertionError  # abort() does not return

    # -- the service -------------------------------------------------------------------------

    def CreateSecret(self, request: sm.CreateSecretRequest, context: grpc.ServicerContext) -> sm.Secret:
        name = f"{request.parent}/secrets/{request.secret_id}"
        parent = re.fullmatch(_PARENT, request.parent)
        if not parent or not re.fullmatch(_SECRET, name):
            self._invalid(context)
        if bool(parent["place"]) == ("replication" in request.secret):
            context.abort(
                Code.INVALID_ARGUMENT, "A global secret needs a replication; a regional one has none."
            )
        if self._canonical(name) in self._secrets:
            context.abort(Code.ALREADY_EXISTS, f"Secret [{self._canonical(name)}] already exists.")
        return self._make(name, request.secret).resource

    def GetSecret(self, request: sm.GetSecretRequest, context: grpc.ServicerContext) -> sm.Secret:
        return self._find(request.name, context).resource

    def UpdateSecret(self, request: sm.UpdateSecretRequest, context: grpc.ServicerContext) -> sm.Secret:
        secret = self._find(request.secret.name, context)
        self._check_etag(request.secret.etag, secret, context)
        if not request.update_mask.paths:
            context.abort(Code.INVALID_ARGUMENT, "The update mask is empty.")
        for path in request.update_mask.paths:
            if path not in {"annotations", "labels", "version_aliases", "expire_time"}:
                context.abort(Code.INVALID_ARGUMENT, f"This server cannot update {path}.")
            numbers = request.secret.version_aliases.values() if path == "version_aliases" else ()
            if not all(0 < number <= len(secret.versions) for number in numbers):
                context.abort(Code.INVALID_ARGUMENT, "An alias names a version that does not exist.")
            setattr(secret.resource, path, getattr(request.secret, path))
        secret.touch()
        return secret.resource

    def DeleteSecret(self, request: sm.DeleteSecretRequest, context: grpc.ServicerContext) -> None:
        self._check_etag(request.etag, self._find(request.name, context), context)
        del self._secrets[self._canonical(request.name)]

    def AddSecretVersion(
        self, request: sm.AddSecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.SecretVersion:
        # There is no etag here, nor is there one in the service.
        secret = self._find(request.parent, context)
        data = request.payload.data
        checked = "data_crc32c" in request.payload
        if checked and request.payload.data_crc32c != google_crc32c.value(data):
            context.abort(Code.INVALID_ARGUMENT, "The checksum does not match the data.")
        if not 0 < len(data) <= _LARGEST:
            context.abort(Code.INVALID_ARGUMENT, f"The payload must have from 1 to {_LARGEST} bytes.")
        self._see_that_the_key_is_enabled(secret, context)
        damage = self.damage.pop(0) if self.damage else ""
        added = sm.SecretVersion(self._add(secret, data, checked=checked))
        if damage == "unchecked":
            added.client_specified_payload_checksum = False
        return added

    def TestIamPermissions(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The permissions of the caller among those of the request; none of a secret that does not exist."""
        principal = self._authenticate(dict(context.invocation_metadata()), context)
        grants = self._grants.get(principal)
        granted = [
            name for name in request.permissions if grants is None or {name, name.partition(".")[2]} & grants
        ]
        exists = self._canonical(request.resource) in self._secrets
        return iam.TestIamPermissionsResponse(permissions=granted if exists else [])

    def GetSecretVersion(
        self, request: sm.GetSecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.SecretVersion:
        return self._find_version(request.name, context).resource

    def ListSecretVersions(
        self, request: sm.ListSecretVersionsRequest, context: grpc.ServicerContext
    ) -> sm.ListSecretVersionsResponse:
        """Newest first; filters are not known here."""
        if request.filter or (request.page_token and not request.page_token.isdigit()):
            self._invalid(context)
        versions = [version.resource for version in reversed(self._find(request.parent, context).versions)]
        first = int(request.page_token or 0)
        last = first + (request.page_size or 25)
        return sm.ListSecretVersionsResponse(
            versions=versions[first:last],
            next_page_token=str(last) if last < len(versions) else "",
            total_size=len(versions),
        )

    def AccessSecretVersion(
        self, request: sm.AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.AccessSecretVersionResponse:
        version = self._find_version(request.name, context)
        state = version.resource.state
        if state != State.ENABLED:
            context.abort(
                Code.FAILED_PRECONDITION,
                f"Secret Version [{version.resource.name}] is in {state.name} state.",
            )
        self._see_that_the_key_is_enabled(
            self._find(request.name.partition("/versions/")[0], context), context
        )
        payload = sm.SecretPayload(data=version.data, data_crc32c=google_crc32c.value(version.data))
        damage = self.damage.pop(0) if self.damage else ""
        if damage == "checksum":
            payload.data_crc32c ^= 1
        if damage == "data":
            payload.data = bytes([version.data[0] ^ 1]) + version.data[1:]
        if damage == "no-checksum":
            payload = sm.SecretPayload(data=version.data)
        if damage == "huge":
            data = b"a" * (1 << 20)
            payload = sm.SecretPayload(data=data, data_crc32c=google_crc32c.value(data))
        if damage == "other-secret":
            other = f"{version.resource.name.partition('/secrets/')[0]}/secrets/other/versions/1"
            return sm.AccessSecretVersionResponse(name=other, payload=payload)
        if damage == "no-payload":
            return sm.AccessSecretVersionResponse(name=version.resource.name)
        return sm.AccessSecretVersionResponse(name=version.resource.name, payload=payload)

    def _data_of(self, name: str, context: grpc.ServicerContext) -> bytes:
        """The bytes of a version, for a parameter that refers to it."""
        return self.AccessSecretVersion(sm.AccessSecretVersionRequest(name=name), context).payload.data

    def EnableSecretVersion(
        self, request: sm.EnableSecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.SecretVersion:
        return self._change_state(request, State.ENABLED, context)

    def DisableSecretVersion(
        self, request: sm.DisableSecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.SecretVersion:
        return self._change_state(request, State.DISABLED, context)

    def DestroySecretVersion(
        self, request: sm.DestroySecretVersionRequest, context: grpc.ServicerContext
    ) -> sm.SecretVersion:
        return self._change_state(request, State.DESTROYED, context)

    def _see_that_the_key_is_enabled(self, secret: _Secret, context: grpc.ServicerContext) -> None:
        if secret.key_state != _ENABLED:
            # As Cloud KMS says it, whose refusal the service passes on.
            key = f"{secret.resource.name.partition('/secrets/')[0]}/locations/l/keyRings/r/cryptoKeys/k"
            context.abort(
                Code.FAILED_PRECONDITION,
                f"{key}/cryptoKeyVersions/1 is not enabled, current state is: {secret.key_state}.",
            )

    # -- what it keeps -----------------------------------------------------------------------

    def _canonical(self, name: str) -> str:
        match = re.fullmatch(_SECRET, name)
        if match is None:
            raise ValueError(f"no name of a secret: {name}")
        number = self.project_number(match["project"])
        return f"projects/{number}{match['place'] or ''}/secrets/{match['secret']}"

    def _make(self, name: str, asked: sm.Secret) -> _Secret:
        resource = sm.Secret(asked)
        resource.name = self._canonical(name)
        resource.create_time = datetime.now(UTC)
        self._secrets[resource.name] = _Secret(resource)
        return self._secrets[resource.name]

    def _add(self, secret: _Secret, data: bytes, *, checked: bool) -> sm.SecretVersion:
        resource = sm.SecretVersion(
            name=f"{secret.resource.name}/versions/{len(secret.versions) + 1}",
            state=State.ENABLED,
            create_time=datetime.now(UTC),
            client_specified_payload_checksum=checked,
            etag='"1"',
        )
        secret.versions.append(_Version(resource, data))
        return resource

    def _drop_expired(self, name: str) -> None:
        found = self._secrets.get(self._canonical(name))
        if found and "expire_time" in found.resource and found.resource.expire_time <= datetime.now(UTC):
            del self._secrets[self._canonical(name)]

    def _find(self, name: str, context: grpc.ServicerContext) -> _Secret:
        if not re.fullmatch(_SECRET, name):
            self._invalid(context)
        self._drop_expired(name)
        found = self._secrets.get(self._canonical(name))
        if found is None:
            context.abort(Code.NOT_FOUND, f"Secret [{self._canonical(name)}] not found.")
        assert found is not None
        return found

    def _find_version(self, name: str, context: grpc.ServicerContext) -> _Version:
        match = re.fullmatch(_VERSION, name)
        if match is None:
            self._invalid(context)
        self._drop_expired(match["parent"])
        secret = self._secrets.get(self._canonical(match["parent"]))
        if secret is None or not secret.versions:
            context.abort(
                Code.NOT_FOUND, f"Secret [{self._canonical(match['parent'])}] not found or has no versions."
            )
        assert secret is not None
        wanted = match["version"]
        if wanted == "latest":
            number = len(secret.versions)
        elif wanted.isdigit():
            number = int(wanted)
        else:
            number = int(secret.resource.version_aliases.get(wanted, 0))
        if not 0 < number <= len(secret.versions):
            context.abort(Code.NOT_FOUND, f"Secret Version [{name}] not found.")
        return secret.versions[number - 1]

    def _change_state(self, request: Any, state: Any, context: grpc.ServicerContext) -> sm.SecretVersion:
        version = self._find_version(request.name, context)
        resource = version.resource
        if request.etag and request.etag != resource.etag:
            context.abort(Code.FAILED_PRECONDITION, "The etag does not match the current one.")
        if resource.state == State.DESTROYED:
            context.abort(
                Code.FAILED_PRECONDITION, f"Secret Version [{resource.name}] is in DESTROYED state."
            )
        resource.state = state
        resource.etag = f'"{int(resource.etag.strip(chr(34)), 16) + 1:x}"'
        if state == State.DESTROYED:
            version.data = b""
            resource.destroy_time = datetime.now(UTC)
        return resource

    @staticmethod
    def _check_etag(etag: str, secret: _Secret, context: grpc.ServicerContext) -> None:
        if etag and etag != secret.resource.etag:
            context.abort(Code.FAILED_PRECONDITION, "The etag does not match the current one.")

    @staticmethod
    def _invalid(context: grpc.ServicerContext) -> NoReturn:
        context.abort(Code.INVALID_ARGUMENT, "Invalid resource field value in the request.")
        raise AssertionError  # abort() does not return


def _serializer(response: Any) -> Callable[[Any], bytes]:
    if response is None:
        return lambda _: b""
    return getattr(response, "serialize", None) or response.SerializeToString  # type: ignore[no-any-return]


def main() -> None:
    import argparse
    import tempfile
    from pathlib import Path

    from tests.servers import by_hand
    from tests.servers.certificates import Certificates
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

    parser = argparse.ArgumentParser(description="Google Secret Manager and Cloud KMS.")
    parser.add_argument(
        "--login",
        choices=("key", "job"),
        default="key",
        help="a service account's key, or a CI job's identity",
    )
    login = parser.parse_args().login
    with tempfile.TemporaryDirectory(prefix="gcp-") as name, Issuer() as issuer:
        folder = Path(name)
        certificates = Certificates(folder)
        with (
            GcpServer(certificates.server) as server,
            GcpLogin(server.identities, certificates.server.context()) as tokens,
        ):
            server.put("projects/p1/secrets/api", b"a value")
            exports = {
                "ASTRO_TOKEN_GCP_ENDPOINT": server.endpoint,
                "ASTRO_TOKEN_GCP_KMS_ENDPOINT": server.endpoint,
                "ASTRO_TOKEN_GCP_PM_ENDPOINT": server.endpoint,
                "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
                "NO_GCE_CHECK": "true",
            }
            if login == "key":
                file = server.identities.service_account().write(folder / "key.json")
                exports["GOOGLE_APPLICATION_CREDENTIALS"] = str(file)
            else:
                provider = tokens.trust(issuer, subject="job")
                end = int(time.time()) + 86400
                exports |= {
                    "ASTRO_TOKEN_GCP_STS_ENDPOINT": f"127.0.0.1:{tokens.port}",
                    "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": provider.removeprefix(
                        "//iam.googleapis.com/"
                    ),
                    "ASTRO_TOKEN_ID_TOKEN": issuer.mint(
                        {"sub": "job", "aud": f"https:{provider}", "exp": end}
                    ),
                }
            key = server.keys.create("projects/p1/locations/global/keyRings/r/cryptoKeys/astro")
            notes = ("it holds projects/p1/secrets/api", f"and the key {key}")
            by_hand.serve("Google Secret Manager and Cloud KMS", exports, *notes)


if __name__ == "__main__":
    main()
