"""Vaults and clouds: the vault that a reference names, its route, and the audience of its tokens."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.record import Record
from astro_token.system.variables import setting
from astro_token.transport.address import parse_address
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef

__all__ = [
    "AUTHORITY",
    "HOSTS",
    "IDENTITY_ENDPOINTS",
    "ObjectId",
    "authority_host",
    "is_in_cloud",
    "login_route",
    "may_request",
    "vault_resource",
    "vault_route",
]

# In the order of the SDK.
IDENTITY_ENDPOINTS = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT")
_IMDS = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
HOSTS = "ASTRO_TOKEN_AZURE_HOSTS"
AUTHORITY = "AZURE_AUTHORITY_HOST"
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE",)
_PUBLIC = "login.microsoftonline.com"
# By the login service of a cloud: the domain of its vaults, and that of its managed HSMs.
_CLOUDS = {
    _PUBLIC: ("vault.azure.net", "managedhsm.azure.net"),
    "login.microsoftonline.us": ("vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net"),
    "login.chinacloudapi.cn": ("vault.azure.cn", "managedhsm.azure.cn"),
    "login.partner.microsoftonline.cn": ("vault.azure.cn", "managedhsm.azure.cn"),
    "login.microsoftonline.de": ("vault.microsoftazure.de", "managedhsm.microsoftazure.de"),
}
_VAULTS = frozenset(vault for vault, _ in _CLOUDS.values())
_HSMS = frozenset(hsm for _, hsm in _CLOUDS.values())


class ObjectId(Record):
    """
    The identifier of a secret or a key, as Azure calls it.

    Attributes:
        host: of the vault, in lower case, with the port if there is one.
        version: None for the newest.
    """

    host: str
    name: str
    version: str | None

    @classmethod
    def parse(cls, ref: SecretRef, kind: str) -> ObjectId:
        """
        Parse a reference. `kind` is `secrets` or `keys`.

        Raises:
            ConfigError: the host must not receive our credential.
        """
        if ref.name.startswith("https://"):
            host, _, path = ref.name.removeprefix("https://").partition("/")
            parts = path.split("/")[1:]
        else:
            vault, name = ref.name.split("/")
            domain, _ = _CLOUDS.get(authority_host(os.environ), _CLOUDS[_PUBLIC])
            host, parts = f"{vault}.{domain}", [name]
        host = host.lower()
        listed = {entry.strip().lower() for entry in os.environ.get(HOSTS, "").split(",")}
        if not is_in_cloud(host, hsm=kind == "keys") and host not in listed:
            raise ConfigError(
                "the reference's host is not in the domain of an Azure cloud's vaults",
                hint=f"if the host is yours and may receive your credential, list it in {HOSTS}",
            )
        return cls(host, parts[0], parts[1] if len(parts) > 1 else ref.options.get("version"))

    @property
    def cli_option(self) -> str:
        """The option of `az` for the vault."""
        vault, _, domain = self.host.partition(".")
        if not is_in_cloud(self.host):
            return "--vault-name VAULT"
        return f"--hsm-name {vault}" if domain in _HSMS else f"--vault-name {vault}"


def vault_route(host: str) -> Route:
    return Route.to(
        f"https://{host}",
        os.environ,
        service="Azure Key Vault",
        variable="the reference",
        ca_variables=_CA_VARIABLES,
    )


def login_route(url: str) -> Route:
    """The route to the login service, or over http to the managed identity endpoint of this machine."""
    is_login = url.startswith("https:")
    endpoints = [name for name in IDENTITY_ENDPOINTS if setting(os.environ, name)]
    return Route.to(
        url,
        os.environ,
        service="the Azure login service" if is_login else "the managed identity endpoint",
        variable=AUTHORITY if is_login else (endpoints or [_IMDS])[0],
        ca_variables=_CA_VARIABLES,
        login=True,
    )


def is_in_cloud(host: str, *, hsm: bool = True) -> bool:
    """True for the host of a vault, or also of a managed HSM, in a cloud of Azure."""
    name, _, domain = host.partition(".")
    is_name = re.fullmatch(r"[a-z0-9-]+", name) is not None
    return is_name and (domain in _VAULTS or (hsm and domain in _HSMS))


def vault_resource(host: str) -> str | None:
    """The audience of the tokens that a vault accepts; None if it is unknown until the vault names it."""
    return f"https://{host.partition('.')[2]}" if is_in_cloud(host) else None


def may_request(host: str, scope: str) -> bool:
    """
    True for a scope that a vault at this host may request: its cloud's vaults, or for a listed host itself.

    The vault could use a token for anything else, such as Azure's management.
    """
    try:
        address = parse_address(scope.removesuffix("/.default"))
    except ValueError:
        return False
    if address.scheme != "https" or address.target != "/":
        return False
    name, domain = host.partition(":")[0], address.host
    is_own = address.origin in {f"https://{name}", f"https://{host}"}  # of a listed host only
    is_parent = "." in domain and name.endswith(f".{domain}")
    return is_parent or (not is_in_cloud(host) and (is_own or domain in _VAULTS | _HSMS))


def authority_host(environ: Mapping[str, str]) -> str:
    """The host of the login service, in lower case."""
    return setting(environ, AUTHORITY).removeprefix("https://").strip("/").lower() or _PUBLIC
