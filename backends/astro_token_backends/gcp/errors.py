"""Errors for the statuses of Google Cloud. Nothing of its texts is passed on."""

from __future__ import annotations

import re

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendError
from astro_token.record import Record
from astro_token.transport.failure import busy, damaged, redirected
from astro_token_backends.gcp.login_request import denied_credential

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astro_token.transport.route import Route

__all__ = ["Permission", "denied", "sdk_error", "status_failure"]

_LONGEST_WAIT = 86400.0
# gRPC's own complaints about a response.
_HTTP_STATUS = r"Received http2 header with status: ([0-9]{3})"
_NOT_HTTP2 = "Failed parsing HTTP/2"
_TOO_LARGE = r"message larger than max|received (?:\w+ )?metadata size exceeds"
# Hints by the reason that the service gives for a denial, a word from its own list.
_REASONS: Mapping[str, str] = {
    "SERVICE_DISABLED": "enable its API: gcloud services enable {api} --project={project}",
    "CONSUMER_INVALID": "check {project}: the project does not exist, or this identity may not use it",
    "BILLING_DISABLED": "enable billing for the project {project}",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "give the machine the access scope cloud-platform",
    "SECURITY_POLICY_VIOLATED": "ask the operator of the VPC Service Controls perimeter of {project} "
    "to let this identity in",
}


class Permission(Record):
    """
    The permission that a call requires.

    Attributes:
        api: of the service.
        resource: the kind of resource that it is granted on.
        name: or the names of several.
        role: the id of a predefined role that has it.
    """

    api: str
    resource: str
    name: str
    role: str


def sdk_error(error: Exception) -> Exception:
    """Convert an error of gRPC as the SDK's clients do."""
    import grpc

    if not isinstance(error, grpc.RpcError):
        return error
    from google.api_core import exceptions

    sdk: Any = exceptions
    converted: Exception
    try:
        converted = sdk.from_grpc_error(error)
    except Exception:  # noqa: BLE001 (the details of the status are malformed)
        converted = sdk.DataLoss("")
    return converted


def status_failure(error: Exception, permission: Permission, project: str, route: Route) -> AstroTokenError:
    """Return the error for an exception of the SDK that means the same in every call."""
    from google.api_core import exceptions as sdk

    message = str(getattr(error, "message", ""))
    match error:
        case sdk.GoogleAPICallError() if status := re.search(_HTTP_STATUS, message):
            return _http_failure(int(status[1]), permission, project, route)
        case sdk.ServiceUnavailable() if _NOT_HTTP2 in message:
            return damaged(route)
        case sdk.Forbidden():
            return denied(permission, project, _REASONS.get(str(error.reason)))
        case sdk.Unauthorized():
            return denied_credential()
        case sdk.TooManyRequests() if re.search(_TOO_LARGE, message):
            return damaged(route)
        case sdk.MethodNotImplemented() | sdk.Unknown() | sdk.DataLoss() | sdk.OutOfRange():
            return damaged(route)
        case sdk.InternalServerError() if message == "Exception deserializing response!":
            return damaged(route)
        case sdk.TooManyRequests() | sdk.ServerError() | sdk.Conflict() | sdk.Cancelled():
            return busy(route, int(error.code or 0), _retry_after(error))
    return BackendError(f"the SDK of Google Cloud failed with {type(error).__name__}")


def _http_failure(status: int, permission: Permission, project: str, route: Route) -> AstroTokenError:
    """Return the error for a web server or a proxy that answers in place of the service."""
    if status in {401, 403}:
        return denied(permission, project)
    if 300 <= status < 400:  # noqa: PLR2004
        return redirected(route)
    return busy(route, status) if status in {408, 429} or status >= 500 else damaged(route)  # noqa: PLR2004


def denied(permission: Permission, project: str, reason: str | None = None) -> AccessDeniedError:
    hint = reason or "grant {name} on it ({role}), and check that the project {project} is right"
    return AccessDeniedError(
        f"Google Cloud denies access to the {permission.resource}, or it does not exist",
        hint=hint.format(project=project, **vars(permission)),
    )


def _retry_after(error: Any) -> float | None:
    for detail in error.details:
        wait: Any = getattr(detail, "retry_delay", None)
        if wait is not None and wait.seconds >= 0:
            return min(float(wait.seconds + wait.nanos / 1e9), _LONGEST_WAIT)
    return None
