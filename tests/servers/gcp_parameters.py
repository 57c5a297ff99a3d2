"""
A strict Google Parameter Manager, served by `GcpServer` beside its secrets.

    gcp.parameters.put("projects/p1/locations/global/parameters/app", "v1", b'{"token": "__REF__(…)"}')

It renders each `__REF__(//secretmanager.googleapis.com/projects/…/secrets/…/versions/…)` in a parameter in
JSON or YAML, with the newest version for `latest`, and refuses what the service refuses:

    a parameter whose own identity was not granted the secret                        PERMISSION_DENIED
    a disabled version, a secret that is disabled or destroyed                       FAILED_PRECONDITION
    a malformed name or reference                                                    INVALID_ARGUMENT
    no such parameter, version or secret                                             NOT_FOUND

There is no latest version. Not covered: templates, deletion, keys of Cloud KMS.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import google_crc32c
import grpc
from google.cloud.parametermanager_v1 import types as pm

if TYPE_CHECKING:
    from collections.abc import Callable

Code = grpc.StatusCode
_NAME = re.compile(
    r"(?P<parent>projects/(?P<project>[a-z0-9][a-z0-9.:-]*)/locations/(?P<location>[a-z0-9-]+)"
    r"/parameters/(?P<parameter>[A-Za-z0-9_-]{1,63}))/versions/(?P<version>[A-Za-z0-9_-]{1,63})"
)
_REFERENCE = re.compile(rb"__REF__\((?:\"|')?//secretmanager\.googleapis\.com/([^()\"']+)(?:\"|')?\)")
PARAMETERS: dict[str, tuple[Any, Any, str, str]] = {
    "RenderParameterVersion": (
        pm.RenderParameterVersionRequest,
        pm.RenderParameterVersionResponse,
        "name",
        "parameterVersions.render",
    ),
    "GetParameterVersion": (
        pm.GetParameterVersionRequest,
        pm.ParameterVersion,
        "name",
        "parameterVersions.get",
    ),
}


class Parameters:
    """
    Args:
        access: returns the bytes of a version of a secret, or ends the call.
        number: returns the number of a project.
        damage: taken one by each rendering: `checksum`, `no-checksum`, `huge`, `other-parameter`,
            `no-payload`.
    """

    def __init__(
        self,
        access: Callable[[str, grpc.ServicerContext], bytes],
        number: Callable[[str], str],
        damage: list[str],
    ) -> None:
        self._access, self._number, self._damage = access, number, damage
        self._versions: dict[str, pm.ParameterVersion] = {}
        self._formatted: dict[str, bool] = {}
        self.strangers: set[str] = set()

    def put(self, parameter: str, version: str, data: bytes, *, formatted: bool = True) -> str:
        """
        Adds a version, which nothing changes. A service of Google names the project by its number.

        Args:
            formatted: in JSON or YAML; another one is not rendered.
        """
        match = _NAME.fullmatch(f"{parameter}/versions/{version}")
        assert match is not None
        name = self._canonical(match)
        assert name not in self._versions, "a version cannot be changed"
        now = datetime.now(UTC)
        payload = pm.ParameterVersionPayload(data=data, data_crc32c=google_crc32c.value(data))
        self._versions[name] = pm.ParameterVersion(
            name=name, create_time=now, update_time=now, payload=payload
        )
        self._formatted[name] = formatted
        return name

    def disable(self, name: str) -> None:
        self._versions[name].disabled = True

    def RenderParameterVersion(
        self, request: pm.RenderParameterVersionRequest, context: grpc.ServicerContext
    ) -> pm.RenderParameterVersionResponse:
        version = self._find(request.name, context)
        if version.disabled:
            context.abort(Code.FAILED_PRECONDITION, "The parameter version is disabled.")
        damage = self._damage.pop(0) if self._damage else ""
        data = version.payload.data
        rendered = data
        if self._formatted[version.name]:
            rendered = _REFERENCE.sub(
                lambda match: self._secret(version.name, match[1].decode(), context), data
            )
        elif b"__REF__" in data:
            rendered = b""
        payload = pm.ParameterVersionPayload(data=data, data_crc32c=google_crc32c.value(data))
        name = version.name
        if damage == "checksum":
            payload.data_crc32c ^= 1
        if damage == "no-checksum":
            payload = pm.ParameterVersionPayload(data=data)
        if damage == "huge":
            rendered = b"a" * (1 << 20)
        if damage == "other-parameter":
            name = name.replace("/parameters/", "/parameters/other-")
        if damage == "no-payload":
            return pm.RenderParameterVersionResponse(parameter_version=name)
        return pm.RenderParameterVersionResponse(
            parameter_version=name, payload=payload, rendered_payload=rendered
        )

    def GetParameterVersion(
        self, request: pm.GetParameterVersionRequest, context: grpc.ServicerContext
    ) -> pm.ParameterVersion:
        resource = pm.ParameterVersion(self._find(request.name, context))
        if request.view == pm.View.BASIC or resource.disabled:
            del resource.payload
        return resource

    def _secret(self, parameter: str, name: str, context: grpc.ServicerContext) -> bytes:
        if parameter in self.strangers:
            denied = "Permission 'secretmanager.versions.access' denied for the identity of the parameter."
            context.abort(Code.PERMISSION_DENIED, denied)
        return self._access(name, context)

    def _canonical(self, match: re.Match[str]) -> str:
        project = self._number(match["project"])
        return match[0].replace(f"projects/{match['project']}/", f"projects/{project}/", 1)

    def _find(self, name: str, context: grpc.ServicerContext) -> pm.ParameterVersion:
        match = _NAME.fullmatch(name)
        if match is None:
            self._refuse(context, Code.INVALID_ARGUMENT, "Invalid resource name.")
        version = self._versions.get(self._canonical(match))
        if version is None:
            self._refuse(context, Code.NOT_FOUND, f"Resource '{name}' was not found.")
        return version

    @staticmethod
    def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, text: str) -> NoReturn:
        context.abort(code, text)
        raise AssertionError  # abort() does not return
