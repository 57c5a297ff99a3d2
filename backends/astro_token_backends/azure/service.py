"""What the backends of Azure have in common: one login, and what they tell of the way to a vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from astro_token_backends.azure.address import Address
from astro_token_backends.azure.login import Login, shared
from astro_token_backends.azure.refusals import translated
from astro_token_backends.azure.surroundings import trust
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef

__all__ = ["AzureService"]

_T = TypeVar("_T")


class AzureService:
    """
    Args:
        login: in place of the one that all of the process share.
        credential: of the SDK, in place of those in the environment.
    """

    _kind: ClassVar[str]  # of what a vault keeps: `secrets` or `keys`

    def __init__(self, login: Login | None = None, credential: Any = None) -> None:
        self._login = login or (Login(credential) if credential else shared())
        self._clients: dict[str, Any] = {}

    def address(self, ref: SecretRef) -> str:
        return call_sdk(lambda: f"https://{Address.of(ref, self._kind).host}", translated)

    def trust(self, ref: SecretRef) -> ssl.SSLContext:  # noqa: ARG002 (the same for all)
        return call_sdk(trust, translated)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        return call_sdk(lambda: self._about(ref, timeout, Login.credential_source), translated)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        """Where only the vault's answer tells what to log in to, the read does it."""
        call_sdk(lambda: self._about(ref, timeout, Login.log_in), translated)

    def close(self) -> None:
        self._clients = {}
        self._login.close()

    def _about(self, ref: SecretRef, timeout: float, ask: Callable[[Login, str], _T]) -> _T:
        address = Address.of(ref, self._kind)
        self._login.wire.begin(timeout)
        return ask(self._login, address.host)
