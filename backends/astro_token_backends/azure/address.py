"""Where a reference leads: a vault's host, and what of it; and whose tokens that vault takes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from astro_token.errors import ConfigError

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["AUTHORITY", "HOSTS", "Address", "authority_host", "is_of_a_cloud", "may_log_in_to", "resource_of"]

HOSTS = "ASTRO_TOKEN_AZURE_HOSTS"
AUTHORITY = "AZURE_AUTHORITY_HOST"
_PUBLIC = "login.microsoftonline.com"
# Of each cloud, by its login service: the domain of its vaults, and that of its managed HSMs.
_CLOUDS = {
    _PUBLIC: ("vault.azure.net", "managedhsm.azure.net"),
    "login.microsoftonline.us": ("vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net"),
    "login.chinacloudapi.cn": ("vault.azure.cn", "managedhsm.azure.cn"),
    "login.partner.microsoftonline.cn": ("vault.azure.cn", "managedhsm.azure.cn"),
    "login.microsoftonline.de": ("vault.microsoftazure.de", "managedhsm.microsoftazure.de"),
}
_VAULTS = frozenset(vault for vault, _ in _CLOUDS.values())
_HSMS = frozenset(hsm for _, hsm in _CLOUDS.values())


@dataclass(frozen=True, slots=True)
class Address:
    """
    Attributes:
        host: of the vault, in small letters, with the port if there is one.
        name: of the secret or the key.
        version: None for the newest.
    """

    host: str
    name: str
    version: str | None

    @classmethod
    def of(cls, ref: SecretRef, kind: str) -> Address:
        """
        Args:
            kind: `secrets` or `keys`.

        Raises:
            ConfigError: the host is not one that gets our credential.
        """
        if ref.name.startswith("https://"):
            url = urlsplit(ref.name)
            host, path = url.netloc.lower(), url.path.split("/")[2:]
        else:
            vault, name = ref.name.split("/")
            host, path = f"{vault.lower()}.{_vault_domain()}", [name]
        listed = {one.strip().lower() for one in os.environ.get(HOSTS, "").split(",")}
        if not is_of_a_cloud(host, hsm=kind == "keys") and host not in listed:
            raise ConfigError(
                "the reference's host is not in the domain of an Azure cloud's vaults",
                hint=f"if it is yours and may get your credential, list it in {HOSTS} as it stands there",
            )
        return cls(host, path[0], path[1] if len(path) > 1 else ref.options.get("version"))

    @property
    def in_cli(self) -> str:
        """The vault as `az` takes it."""
        vault, _, domain = self.host.partition(".")
        if not is_of_a_cloud(self.host):
            return "--vault-name VAULT"
        return f"--hsm-name {vault}" if domain in _HSMS else f"--vault-name {vault}"


def is_of_a_cloud(host: str, *, hsm: bool = True) -> bool:
    name, _, domain = host.partition(".")
    return bool(re.fullmatch(r"[a-z0-9-]+", name)) and domain in (_VAULTS | _HSMS if hsm else _VAULTS)


def resource_of(host: str) -> str | None:
    """Whose tokens a vault takes; None where only it can tell."""
    return f"https://{host.partition('.')[2]}" if is_of_a_cloud(host) else None


def may_log_in_to(host: str, scope: str) -> bool:
    """
    True for a scope that a vault at that host may ask for.

    A token for anything else, such as Azure's management, would be one that the vault could use itself.
    """
    resource = urlsplit(scope.removesuffix("/.default"))
    domain = resource.netloc.lower()
    if resource.scheme != "https" or resource.path not in {"", "/"} or not domain:
        return False
    of_this_host = host.partition(":")[0].endswith(f".{domain.partition(':')[0]}") and "." in domain
    return of_this_host or (not is_of_a_cloud(host) and domain in _VAULTS | _HSMS)


def authority_host() -> str:
    """The login service's host, in small letters."""
    return os.environ.get(AUTHORITY, "").strip().removeprefix("https://").strip("/").lower() or _PUBLIC


def _vault_domain() -> str:
    return _CLOUDS.get(authority_host(), _CLOUDS[_PUBLIC])[0]
