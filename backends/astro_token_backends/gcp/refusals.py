"""What Google Cloud refuses, and what that means for the caller; its texts are not passed on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendError
from astro_token_backends import network

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Need", "refused"]

_LONGEST_WAIT = 86400.0
# What gRPC itself finds wrong with an answer.
_STATUS = re.compile(r"Received http2 header with status: (\d{3})")
_NOT_HTTP2 = "Failed parsing HTTP/2"
_TOO_LARGE = re.compile(r"message larger than max|received (?:\w+ )?metadata size exceeds")
# By the reason that the service gives with a denial, a word out of its own list.
_REASONS: Mapping[str, str] = {
    "SERVICE_DISABLED": "enable its API: gcloud services enable {api} --project={project}",
    "CONSUMER_INVALID": "there is no such project, or it is not one of this identity's: see {project}",
    "BILLING_DISABLED": "billing is not enabled for the project {project}",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "give the machine the access scope cloud-platform",
    "SECURITY_POLICY_VIOLATED": "a VPC Service Controls perimeter of {project} keeps this identity out",
}


@dataclass(frozen=True, slots=True)
class Need:
    """
    What a call takes.

    Attributes:
        permission: its name, or the names of several.
        role: a predefined one that has it, by its id.
        on: what it has to be granted on, for people.
        project: of what is asked for.
        api: the service's.
    """

    permission: str
    role: str
    on: str
    project: str
    api: str


def refused(error: Exception, need: Need) -> AstroTokenError:
    """The error for callers, where an SDK's means the same whatever was asked."""
    from google.api_core import exceptions as sdk

    message = str(getattr(error, "message", ""))
    match error:
        case sdk.GoogleAPICallError() if status := _STATUS.search(message):
            return _by_a_web_server(int(status[1]), need)
        case sdk.ServiceUnavailable() if _NOT_HTTP2 in message:
            return network.damaged()
        case sdk.Forbidden():
            return _denied(need, _REASONS.get(str(error.reason)))
        case sdk.Unauthorized():
            return AccessDeniedError(
                "Google Cloud does not accept the credential",
                hint="renew what GOOGLE_APPLICATION_CREDENTIALS names, or log in again with "
                "gcloud auth application-default login; check this machine's clock",
            )
        case sdk.TooManyRequests() if _TOO_LARGE.search(message):
            return network.damaged()
        case sdk.MethodNotImplemented() | sdk.Unknown() | sdk.DataLoss() | sdk.OutOfRange():
            return network.damaged()
        case sdk.InternalServerError() if message == "Exception deserializing response!":
            return network.damaged()
        case sdk.TooManyRequests() | sdk.ServerError() | sdk.Conflict() | sdk.Cancelled():
            return network.busy(_retry_after(error))
    return BackendError(f"the SDK of Google Cloud failed with {type(error).__name__}")


def _by_a_web_server(status: int, need: Need) -> AstroTokenError:
    if status in {401, 403}:
        return _denied(need)
    if 300 <= status < 400:  # noqa: PLR2004
        return network.redirected()
    return network.busy() if status in {408, 429} or status >= 500 else network.damaged()  # noqa: PLR2004


def _denied(need: Need, reason: str | None = None) -> AccessDeniedError:
    return AccessDeniedError(
        f"Google Cloud denies access to the {need.on}, or there is none",
        hint=reason.format(api=need.api, project=need.project)
        if reason
        else f"grant {need.permission} on it ({need.role}), and see that {need.project} is right",
    )


def _retry_after(error: Any) -> float | None:
    wait: Any
    for detail in error.details:
        wait = getattr(detail, "retry_delay", None)
        if wait is not None and wait.seconds >= 0:
            return min(float(wait.seconds + wait.nanos / 1e9), _LONGEST_WAIT)
    return None
