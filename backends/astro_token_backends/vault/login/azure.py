"""The login with the managed identity of a machine or an app in Azure. A machine's location is sent along."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from astro_token.errors import AccessDeniedError, NoCredentialError
from astro_token.secret import SecretValue
from astro_token.transport.client import Client
from astro_token.transport.failure import damaged
from astro_token.transport.route import Route
from astro_token_backends.vault.login.context import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["azure"]

_RESOURCE = "https://management.azure.com/"
_SERVICE = "Azure's managed identity"
_MACHINE = "http://169.254.169.254"
_MACHINE_VARIABLE = "AZURE_POD_IDENTITY_AUTHORITY_HOST"  # the SDK's own, for another address


def azure(context: LoginContext) -> Credential:
    role = context.required("ASTRO_TOKEN_VAULT_ROLE")
    with Client() as client:
        source, token, location = _identity(context, client)
    return Credential(
        context.with_role(source),
        lambda: context.api("azure:Azure").login(
            role, token.reveal().decode(), mount_point=context.mount, **location
        ),
    )


def _identity(context: LoginContext, client: Client) -> tuple[str, SecretValue, dict[str, str]]:
    query = {"resource": context.text("ASTRO_TOKEN_VAULT_AUDIENCE") or _RESOURCE}
    if client_id := context.text("AZURE_CLIENT_ID"):
        query["client_id"] = client_id
    endpoint, secret = context.text("IDENTITY_ENDPOINT"), context.text("IDENTITY_HEADER")
    if endpoint and secret:  # App Service, Functions, Container Apps
        service = _Metadata(context, client, "IDENTITY_ENDPOINT", {"X-IDENTITY-HEADER": secret})
        token = service.token(endpoint, {"api-version": "2019-08-01", **query})
        return "the managed identity of IDENTITY_ENDPOINT", token, {}
    url = f"{(context.text(_MACHINE_VARIABLE) or _MACHINE).rstrip('/')}/metadata"
    service = _Metadata(context, client, _MACHINE_VARIABLE, {"Metadata": "true"})
    service.check_presence(url)
    token = service.token(f"{url}/identity/oauth2/token", {"api-version": "2018-02-01", **query})
    return "the managed identity of this virtual machine", token, service.location(f"{url}/instance")


class _Metadata:
    """The service that gives a machine or an app its identity."""

    def __init__(self, context: LoginContext, client: Client, variable: str, headers: dict[str, str]) -> None:
        self._context = context
        self._client = client
        self._variable = variable
        self._headers = headers

    def check_presence(self, url: str) -> None:
        """Fail early outside of Azure, where no machine has the address."""
        if self._client.accepts(self._route(url), time.monotonic() + self._context.seconds):
            return
        raise NoCredentialError(
            "no usable credential for Vault: the login by azure finds no managed identity",
            hint="outside of Azure select another login; an app has IDENTITY_ENDPOINT and IDENTITY_HEADER, "
            "a virtual machine has a metadata server",
        )

    def token(self, url: str, query: dict[str, str]) -> SecretValue:
        route, content = self._get(url, query)
        token = content.get("access_token")
        if not isinstance(token, str) or not token.isascii():
            raise damaged(route)
        return SecretValue(token.encode())

    def location(self, url: str) -> dict[str, str]:
        """The names under which Vault finds the machine, if the role is bound to its location."""
        route, content = self._get(url, {"api-version": "2021-02-01"})
        compute = content.get("compute")
        if not isinstance(compute, dict):
            raise damaged(route)
        scale_set = compute.get("vmScaleSetName")
        names = {
            "subscription_id": compute.get("subscriptionId"),
            "resource_group_name": compute.get("resourceGroupName"),
            "vmss_name" if scale_set else "vm_name": scale_set or compute.get("name"),
        }
        return {name: value for name, value in names.items() if isinstance(value, str) and value}

    def _route(self, url: str) -> Route:
        return Route.to(url, self._context.environ, service=_SERVICE, variable=self._variable, login=True)

    def _get(self, url: str, query: dict[str, str]) -> tuple[Route, dict[str, Any]]:
        route = self._route(f"{url}{'&' if '?' in url else '?'}{urlencode(query)}")
        until = time.monotonic() + self._context.seconds
        response = self._client.send(route, "GET", route.address.target, until=until, headers=self._headers)
        if failure := response.failure():
            raise failure
        if response.status != 200:  # noqa: PLR2004
            raise AccessDeniedError(
                f"{_SERVICE} gives no token (status {response.status})",
                hint="assign an identity to the machine or app; "
                f"check {self._variable}, IDENTITY_HEADER, AZURE_CLIENT_ID, "
                "and ASTRO_TOKEN_VAULT_AUDIENCE, which is the resource",
            )
        content = response.json()
        if content is None:
            raise response.damaged()
        return route, content
