"""The managed identity of a machine or an app in Azure, with the machine's place where it has one."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.identity.request import Question, ask, damaged
from astro_token.secret import SecretValue
from astro_token.transport.deadline import Deadline
from astro_token_backends.vault.login.asked import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["azure"]

_RESOURCE = "https://management.azure.com/"
_SYSTEM = "Azure's managed identity"
_HINT = "assign an identity to it; see AZURE_CLIENT_ID, and ASTRO_TOKEN_VAULT_AUDIENCE, which is the resource"
_MACHINE = "http://169.254.169.254"
_ELSEWHERE = "AZURE_POD_IDENTITY_AUTHORITY_HOST"  # the SDK's own variable for another address than that
_PROBE_SECONDS = 1.0


def azure(asked: Asked) -> Credential:
    role = asked.required("ASTRO_TOKEN_VAULT_ROLE")
    source, token, place = Deadline(asked.seconds).once(lambda seconds: _identity(asked, seconds))
    return Credential(
        asked.with_role(source),
        lambda: asked.client("").auth.azure.login(
            role, token.reveal().decode(), mount_point=asked.mount, **place
        ),
    )


def _identity(asked: Asked, seconds: float) -> tuple[str, SecretValue, dict[str, str]]:
    query = {"resource": asked.text("ASTRO_TOKEN_VAULT_AUDIENCE") or _RESOURCE}
    if client := asked.text("AZURE_CLIENT_ID"):
        query["client_id"] = client
    endpoint, secret = asked.text("IDENTITY_ENDPOINT"), asked.text("IDENTITY_HEADER")
    if endpoint and secret:  # App Service, Functions, Container Apps
        query = {"api-version": "2019-08-01", **query}
        own = {"X-IDENTITY-HEADER": secret}
        token = _token(_asked("IDENTITY_ENDPOINT", endpoint, query, own), asked, seconds)
        return "the managed identity of IDENTITY_ENDPOINT", token, {}
    host = (asked.text(_ELSEWHERE) or _MACHINE).rstrip("/")
    _see_that_it_is_there(host)
    query = {"api-version": "2018-02-01", **query}
    token = _token(_of_machine(host, "identity/oauth2/token", query), asked, seconds)
    place = _place(_of_machine(host, "instance", {"api-version": "2021-02-01"}), asked, seconds)
    return "the managed identity of this virtual machine", token, place


def _token(question: Question, asked: Asked, seconds: float) -> SecretValue:
    token = _map(question, asked, seconds).get("access_token")
    if not isinstance(token, str) or not token.isascii():
        raise damaged(_SYSTEM)
    return SecretValue(token.encode())


def _place(question: Question, asked: Asked, seconds: float) -> dict[str, str]:
    """What Vault looks the machine up by, where a role is bound to where it is."""
    compute = _map(question, asked, seconds).get("compute")
    if not isinstance(compute, dict):
        raise damaged(_SYSTEM)
    scale_set = compute.get("vmScaleSetName")
    named = {
        "subscription_id": compute.get("subscriptionId"),
        "resource_group_name": compute.get("resourceGroupName"),
        "vmss_name" if scale_set else "vm_name": scale_set or compute.get("name"),
    }
    return {name: value for name, value in named.items() if isinstance(value, str) and value}


def _map(question: Question, asked: Asked, seconds: float) -> dict[str, Any]:
    try:
        content = json.loads(ask(question, asked.environ, seconds).decode())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise damaged(_SYSTEM)
    return content


def _of_machine(host: str, what: str, query: dict[str, str]) -> Question:
    return _asked(_ELSEWHERE, f"{host}/metadata/{what}", query, {"Metadata": "true"})


def _asked(variable: str, url: str, query: dict[str, str], headers: dict[str, str]) -> Question:
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise ConfigError("IDENTITY_HEADER is malformed", hint="do not set it yourself")
    url = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
    return Question(_SYSTEM, variable, _HINT, url, headers=headers, plain_hosts=_plain_hosts(url))


def _plain_hosts(url: str) -> frozenset[str]:
    """Those that are asked in clear beside this machine: link-local ones, which are never routed to."""
    import ipaddress

    try:
        host = urlsplit(url).hostname or ""
        near = ipaddress.ip_address(host) in ipaddress.ip_network("169.254.0.0/16")
    except ValueError:
        near = False
    return frozenset({host}) if near else frozenset()


def _see_that_it_is_there(host: str) -> None:
    """Outside of Azure nobody answers at that address, and waiting for it would take all the time."""
    try:
        address = urlsplit(host)
        place = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection(place, _PROBE_SECONDS).close()
    except (OSError, ValueError):
        pass
    else:
        return
    raise AccessDeniedError(
        "no usable credential for Vault: the login by azure finds no managed identity",
        hint="looked for IDENTITY_ENDPOINT with IDENTITY_HEADER, and for a machine's metadata server; "
        "outside of Azure choose another login",
    )
