"""Google Cloud Parameter Manager: `gcp-pm:PROJECT/PARAMETER?version=V`."""

from __future__ import annotations

import re

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    InvalidRefError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.record import Record
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.transport.failure import damaged
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.client import GcpService, Method, time_of, unknown
from astro_token_backends.gcp.errors import Permission

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = ["ParameterManager"]

_API = "parametermanager.googleapis.com"
_SDK = ("google.cloud.parametermanager_v1", "google.cloud.parametermanager.v1.ParameterManager")
_ROLE = "roles/parametermanager.parameterAccessor"
_READ = Permission(_API, "parameter", "parametermanager.parameterVersions.render", _ROLE)
_DESCRIBE = Permission(
    _API, "parameter", "parametermanager.parameterVersions.get", "roles/parametermanager.parameterViewer"
)
_RENDER = Method(*_SDK, "render_parameter_version", "service.RenderParameterVersionResponse", _READ)
_GET = Method(*_SDK, "get_parameter_version", "service.ParameterVersion", _DESCRIBE)
_NAME = re.compile(
    r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/parameters/(?P<parameter>[^/]+)"
    r"(?:/versions/(?P<version>[^/]+))?"
)
_GLOBAL = "global"
_OWN_IDENTITY = (
    "grant roles/secretmanager.secretAccessor on it to the parameter's own identity, the "
    "policyMember.iamPolicyUidPrincipal of gcloud parametermanager parameters describe {name}"
)


class _Version(Record):
    """A version of a parameter, in the service's terms."""

    project: str
    location: str
    parameter: str
    version: str

    @property
    def name(self) -> str:
        parent = f"projects/{self.project}/locations/{self.location}"
        return f"{parent}/parameters/{self.parameter}/versions/{self.version}"

    @property
    def flags(self) -> str:
        """The flags of gcloud."""
        return f"--project={self.project} --location={self.location}"

    @property
    def host(self) -> str:
        return _API if self.location == _GLOBAL else f"parametermanager.{self.location}.rep.googleapis.com"


class ParameterManager(GcpService):
    """
    Parameters of Google Cloud Parameter Manager, rendered: with the secrets that they refer to.

    Reference: `gcp-pm:PROJECT/PARAMETER?version=V[&location=L][#field]`, with the location `global` if
    none is given, or the full name `gcp-pm:projects/P/locations/L/parameters/N/versions/V[#field]`.

    A version is required: the service has no latest one. A version that refers to `secrets/S/versions/latest`
    renders the secret as it is now.

    `credential_chain` lists the credentials; docs/gcp.md has the permissions.

    Args:
        client: the SDK's, for all locations, which brings its own credentials.
        connection: in place of the process's.
    """

    _package = _SDK[0]

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(ref, timeout), unknown)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return call_sdk(lambda: self._describe(ref, timeout), unknown)

    def _route(self, ref: SecretRef) -> Route:
        return self._route_to("Parameter Manager", "ASTRO_TOKEN_GCP_PM_ENDPOINT", _version(ref).host)

    def _read(self, ref: SecretRef, seconds: float) -> SecretValue:
        import google_crc32c

        version = _version(ref)
        response = self._call(ref, _RENDER, {"name": version.name}, seconds)
        payload = response.payload
        # The checksum is that of the version; the service sends none of the rendered text.
        is_intact = "data_crc32c" not in payload or payload.data_crc32c == google_crc32c.value(payload.data)
        if not is_intact or not _is_of(response.parameter_version, version):
            raise damaged(self._route(ref))
        # Only a parameter in JSON or YAML is rendered; another one has no references.
        return SecretValue(response.rendered_payload or payload.data, version.version)

    def _describe(self, ref: SecretRef, seconds: float) -> SecretMetadata:
        from google.cloud.parametermanager_v1.types.service import View

        version = _version(ref)
        resource = self._call(ref, _GET, {"name": version.name, "view": View.BASIC}, seconds)
        if not _is_of(resource.name, version):
            raise damaged(self._route(ref))
        return SecretMetadata(
            version=version.version,
            created=time_of(resource, "create_time"),
            updated=time_of(resource, "update_time"),
            enabled=not resource.disabled,
        )

    def _call(self, ref: SecretRef, method: Method, request: Any, seconds: float) -> Any:
        version = _version(ref)
        return self._connection.call(
            method,
            self._route(ref),
            request,
            refused=lambda error: _refused(error, version),
            seconds=seconds,
            injected=self._injected,
        )


def _version(ref: SecretRef) -> _Version:
    name, location = ref.name, ref.options.get("location")
    if not name.startswith("projects/"):
        project, _, parameter = name.partition("/")
        name = f"projects/{project}/locations/{location or _GLOBAL}/parameters/{parameter}"
    elif location is not None:
        raise InvalidRefError(
            "not a reference of gcp-pm: its location is given twice", hint="remove the option location"
        )
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidRefError("not a reference of gcp-pm: its name is malformed")
    version = match["version"] or ref.options.get("version")
    if version is None:
        raise InvalidRefError(
            "gcp-pm needs a version: Parameter Manager has no latest one",
            hint="add ?version=V; one that refers to secrets/…/versions/latest renders the current secret",
        )
    return _Version(match["project"], match["location"], match["parameter"], version)


# -- responses ----------------------------------------------------------------------------------------


def _is_of(name: str, version: _Version) -> bool:
    """True if a response is about this version. It may name the project by its number."""
    match = _NAME.fullmatch(name)
    return match is not None and match.group("location", "parameter", "version") == (
        version.location,
        version.parameter,
        version.version,
    )


# -- errors -------------------------------------------------------------------------------------------


def _refused(error: Any, version: _Version) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    name = f"{version.parameter} {version.flags}"
    match error:
        case sdk.Forbidden() if "secretmanager" in error.message:
            return AccessDeniedError(
                "Google Cloud denies the parameter access to a secret that it refers to",
                hint=_OWN_IDENTITY.format(name=name),
            )
        case sdk.NotFound():
            return SecretNotFoundError(
                "the parameter, its version, or a secret that it refers to does not exist",
                hint=f"list them: gcloud parametermanager parameters versions list --parameter={name}",
            )
        case sdk.FailedPrecondition():
            return UnusableSecretError(
                "the version is disabled, or a secret that it refers to cannot be used",
                hint=f"check the version, and the state of these secrets; {_OWN_IDENTITY.format(name=name)}",
            )
        case sdk.OutOfRange():
            return None
        case sdk.BadRequest():
            return InvalidRefError(
                "Google Cloud does not accept the reference, or cannot render the parameter",
                hint="check the project, the name and the version, and the references in the parameter",
            )
    return None
