"""What Vault refuses, and what that means for the caller."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    IntegrityError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "EXPLAINED",
    "LOOK_AT_ADDRESS",
    "MOUNT_QUESTION",
    "StatusError",
    "needing",
    "proxy_wants_credentials",
]

MOUNT_QUESTION = "sys/internal/ui/mounts"  # needs no more than access to something in the mount
LOOK_AT_ADDRESS = (
    "see that VAULT_ADDR has the right scheme and names Vault itself, and neither a proxy nor a portal"
)
# Besides those from 500 on: timeouts, limits, a replica that is behind (412), standby nodes (472, 473).
_PASSING = frozenset({408, 412, 425, 429, 472, 473, 474})
_BEYOND = 600
# Whose bodies are read: what they say, or that they are not Vault's, changes what to do.
EXPLAINED = frozenset(range(400, 500)) - _PASSING - {401, 403, 407} | {503}


class StatusError(Exception):
    """
    An answer with a status of 400 or more; it stays inside of this package.

    Attributes:
        status: the HTTP status.
        content: the answer, where it is a JSON object and the status is one that it explains; else None.
    """

    def __init__(self, status: int, content: Mapping[str, Any] | None, retry_after: float | None) -> None:
        super().__init__()
        self.status = status
        self.content = content
        self._retry_after = retry_after

    @property
    def explained(self) -> bool:
        """True if it is Vault's own 400 or 404, and not that of a gateway before it."""
        return self.status in {400, 404} and self._own

    @property
    def _own(self) -> bool:
        return bool({"errors", "data", "warnings"} & set(self.content or ()))

    def says(self, text: str) -> bool:
        """True if Vault gives that as a reason."""
        errors = (self.content or {}).get("errors")
        return isinstance(errors, list) and any(isinstance(error, str) and text in error for error in errors)

    def translated(self, hint: str) -> AstroTokenError:
        """
        The error for callers, with nothing of the answer but its status.

        Args:
            hint: what to do where the service denies it.
        """
        status = self.status
        if status in EXPLAINED and status < HTTPStatus.INTERNAL_SERVER_ERROR and not self._own:
            return IntegrityError(
                f"an answer with the status {status} that is not Vault's", hint=LOOK_AT_ADDRESS
            )
        if status in {401, 403, 405}:
            return AccessDeniedError("Vault denies it", hint=hint)
        if status == HTTPStatus.NOT_FOUND:
            return SecretNotFoundError(
                "Vault has nothing there", hint="see that the mount, the path and VAULT_NAMESPACE are right"
            )
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return proxy_wants_credentials()
        if status == HTTPStatus.NOT_IMPLEMENTED:
            return BackendDownError("Vault is not initialised", hint="its operator has to initialise it")
        if status == HTTPStatus.SERVICE_UNAVAILABLE and self.says("sealed"):
            return BackendDownError("Vault is sealed", hint="its operator has to unseal it")
        if status in _PASSING or HTTPStatus.INTERNAL_SERVER_ERROR <= status < _BEYOND:
            return BackendUnavailableError(
                f"Vault cannot answer now (status {status})",
                hint="try again later",
                retry_after=self._retry_after,
            )
        return BackendError(
            f"Vault refuses the request (status {status})", hint="see Vault's audit log for the reason"
        )


@contextmanager
def needing(path: str, *capabilities: str) -> Iterator[None]:
    """Translates a refusal; a denial names the policy that would allow it, made from our own reference."""
    listed = ", ".join(f'"{capability}"' for capability in capabilities)
    try:
        yield
    except StatusError as refused:
        raise refused.translated(
            f'the Vault token needs a policy with: path "{path}" {{ capabilities = [{listed}] }}'
        ) from None


def proxy_wants_credentials() -> AstroTokenError:
    return ConfigError("the proxy wants a user and a password", hint="see HTTPS_PROXY and NO_PROXY")
