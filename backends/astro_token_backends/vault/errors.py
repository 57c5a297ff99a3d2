"""The errors that stand for Vault's refusals."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendDownError,
    BackendError,
    IntegrityError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from astro_token.transport.client import Response

__all__ = ["StatusError", "denied", "policy_hint", "requiring", "translated", "unexpected"]

# Reasons that Vault gives if a policy denies the request. A token that has ended gets another one.
_OF_POLICY = ("1 error occurred", "preflight capability check")
# A replica that is behind, and standby nodes.
_BUSY = frozenset({412, 472, 473, 474})


class StatusError(Exception):
    """
    A response with a status of 400 or more. It stays inside this package.

    Attributes:
        content: the body if it is a JSON object, else None.
        renewal: returns the remedy for a token that Vault does not accept.
    """

    def __init__(
        self,
        response: Response,
        content: Mapping[str, Any] | None,
        renewal: Callable[[], str] | None = None,
    ) -> None:
        super().__init__()
        self.renewal = renewal
        self.status = response.status
        self.content = content
        self._response = response

    @property
    def is_explained(self) -> bool:
        """True for a 400 or 404 of Vault itself, and not of a gateway before it."""
        return self.status in {400, 404} and self._is_vaults

    @property
    def _is_vaults(self) -> bool:
        return bool({"errors", "data", "warnings"} & set(self.content or ()))

    def says(self, reason: str) -> bool:
        errors = (self.content or {}).get("errors")
        return isinstance(errors, list) and any(
            isinstance(error, str) and reason in error for error in errors
        )

    def translated(self, hint: str) -> AstroTokenError:
        """
        The error for callers. It holds nothing of the response but its status.

        Args:
            hint: for a denial.
        """
        status = self.status
        if status in {401, 403} or (status == 405 and self._is_vaults):  # noqa: PLR2004
            if self.renewal is not None and not any(map(self.says, _OF_POLICY)):
                hint = f"{self.renewal()}; if the token is valid, {hint}"
            return denied(hint)
        if status == 501:  # noqa: PLR2004
            return BackendDownError("Vault is not initialised", hint="ask its operator to initialise it")
        if status == 503 and self.says("sealed"):  # noqa: PLR2004
            return BackendDownError("Vault is sealed", hint="ask its operator to unseal it")
        if failure := self._response.failure(also_busy=_BUSY):
            return failure
        if not self._is_vaults:
            return unexpected()
        if status == 404:  # noqa: PLR2004
            return SecretNotFoundError(
                "Vault has nothing at this path", hint="check the mount, the path and VAULT_NAMESPACE"
            )
        return BackendError(
            f"Vault rejects the request (status {status})", hint="look up the reason in Vault's audit log"
        )


@contextmanager
def requiring(path: str, *capabilities: str) -> Iterator[None]:
    """Translate a refusal. The hint for a denial is the policy that would allow it, from our reference."""
    try:
        yield
    except StatusError as refused:
        raise refused.translated(policy_hint(path, *capabilities)) from None


def policy_hint(path: str, *capabilities: str) -> str:
    listed = ", ".join(f'"{capability}"' for capability in capabilities)
    return f'add to the policy of the Vault token: path "{path}" {{ capabilities = [{listed}] }}'


def denied(hint: str) -> AccessDeniedError:
    return AccessDeniedError("Vault denies the request", hint=hint)


def unexpected() -> IntegrityError:
    return IntegrityError(
        "the response does not have the form that Vault documents",
        hint="check scheme, host and port in VAULT_ADDR: it must name Vault itself, not a proxy or a portal",
    )


def translated(unknown: Exception) -> AstroTokenError:
    """The error for an exception that nobody foresaw."""
    return BackendError(
        f"the Vault backend failed with {type(unknown).__name__}", hint="report it with the version of hvac"
    )
