"""The address of Vault, its route and its namespace, from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError, NoStoreError
from astro_token.record import Record
from astro_token.system import variables
from astro_token.system.variables import secret_setting, setting
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "path_setting", "read_settings", "text_setting"]

_EXAMPLE = "for example VAULT_ADDR=https://vault.example.com:8200"
_SEGMENT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_FALSE = frozenset({"", "0", "f", "false"})


class Settings(Record):
    """
    Attributes:
        base: path in front of Vault's own, without a slash at its end; usually empty.
        namespace: of the login, and of references that name none.
    """

    route: Route
    base: str
    namespace: str | None

    @property
    def url(self) -> str:
        return f"{self.route.address.origin}{self.base}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """
    Read the environment. A rejected value is not repeated: it may hold a password.

    Raises:
        NoStoreError: VAULT_ADDR is not set.
        ConfigError: a setting is malformed, or would weaken the connection.
    """
    if setting(environ, "VAULT_SKIP_VERIFY").lower() not in _FALSE:
        raise ConfigError(
            "VAULT_SKIP_VERIFY is set, but the certificate of Vault is always verified",
            hint="unset it, and name the file of the CA in VAULT_CACERT",
        )
    address = setting(environ, "VAULT_ADDR")
    if not address:
        if setting(environ, "BAO_ADDR"):
            raise ConfigError(
                "VAULT_ADDR is not set, and BAO_ADDR is not read", hint="set VAULT_ADDR to the same address"
            )
        raise NoStoreError("VAULT_ADDR is not set", hint=f"set it to the address of Vault, {_EXAMPLE}")
    route = Route.to(
        address,
        environ,
        service="Vault",
        variable="VAULT_ADDR",
        ca_variables=("VAULT_CACERT", "VAULT_CAPATH"),
        client_certificate=(
            variables.path_setting(environ, "VAULT_CLIENT_CERT") or None,
            variables.path_setting(environ, "VAULT_CLIENT_KEY") or None,
            "VAULT_CLIENT_CERT or VAULT_CLIENT_KEY",
        ),
    )
    base = (
        f"/{route.address.target}".removesuffix("/").removesuffix("/v1").strip("/")
    )  # v1 is added to each path
    if base and not _is_path(base):
        raise ConfigError(
            "VAULT_ADDR is malformed", hint=f"set it to the address without a query, {_EXAMPLE}"
        )
    return Settings(route, base and f"/{base}", path_setting(environ, "VAULT_NAMESPACE"))


def text_setting(environ: Mapping[str, str], name: str) -> str | None:
    """A variable without the line end that a file adds to its value; None if it is unset or empty."""
    return secret_setting(environ, name) or None


def path_setting(environ: Mapping[str, str], name: str) -> str | None:
    """
    A variable that becomes part of a path.

    Raises:
        ConfigError: it could reach another path.
    """
    path = setting(environ, name).strip("/")
    if path and not _is_path(path):
        raise ConfigError(
            f"{name} is malformed", hint="use a path of letters, digits and _ . -, for example team/ci"
        )
    return path or None


def _is_path(text: str) -> bool:
    return all(segment and segment[0] != "." and _SEGMENT.issuperset(segment) for segment in text.split("/"))
