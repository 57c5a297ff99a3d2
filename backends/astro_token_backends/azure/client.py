"""The common part of both backends: one login, the SDK's clients of each vault, and the route to it."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from astro_token.system.sdk_imports import import_sdk
from astro_token_backends.azure.errors import translated
from astro_token_backends.azure.login import Login, shared
from astro_token_backends.azure.settings import ObjectId, vault_route
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = ["AzureService"]

# The SDK imports these classes, and email.policy for batches; no call of ours uses them.
_ASYNC = {
    "async_challenge_auth_policy": "AsyncChallengeAuthPolicy",
    "async_client_base": "AsyncKeyVaultClientBase",
}


class _Clients(threading.local):
    """
    The SDK's clients of one thread, by host.

    A client that threads share fails now and then: after a challenge in one of them, the SDK drops the access
    token that another one is about to use. The login that they share keeps it.
    """

    def __init__(self) -> None:
        self.by_host: dict[str, Any] = {}


def _complete_models(module: str) -> None:
    """
    Let the SDK complete its classes of responses.

    It does so when it creates the first object of each, and not safely: another thread that creates one at
    that moment takes a class that lacks a field, and the response seems damaged.
    """
    for model in vars(sys.modules[module]).values():
        if hasattr(model, "_calculated"):
            model.__new__(model)


class AzureService:
    """
    Args:
        login: replaces the login that the process shares.
        credential: a credential of the SDK, which replaces those in the environment.
    """

    _kind: ClassVar[str]  # of object: `secrets` or `keys`
    _client_name: ClassVar[str]  # of the SDK's class

    def __init__(self, login: Login | None = None, credential: Any = None) -> None:
        package = f"azure.keyvault.{self._kind}"
        unused = {f"{package}._shared.{module}": (name,) for module, name in _ASYNC.items()}
        sdk = import_sdk(package, without={**unused, "email.policy": ("HTTP",)})
        _complete_models(f"{package}._generated.models")
        self._client_class = getattr(sdk, self._client_name)
        self._login = login or (Login(credential) if credential else shared())
        self._clients = _Clients()

    def route(self, ref: SecretRef) -> Route:
        return call_sdk(lambda: vault_route(ObjectId.parse(ref, self._kind).host), translated)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        return call_sdk(lambda: self._login.credential_source(self._begin(ref, timeout).host), translated)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        """Log in. If the audience is unknown until the vault names it, the first read logs in."""
        call_sdk(lambda: self._login.log_in(self._begin(ref, timeout).host), translated)

    def close(self) -> None:
        self._clients = _Clients()
        self._login.close()

    def _begin(self, ref: SecretRef, timeout: float) -> ObjectId:
        """Begin an attempt on the object of a reference."""
        target = ObjectId.parse(ref, self._kind)
        self._login.transport.begin(timeout)
        return target

    def _client(self, host: str) -> Any:
        clients = self._clients.by_host
        if host not in clients:
            clients[host] = self._client_class(f"https://{host}", **self._login.client_options(host))
        return clients[host]
