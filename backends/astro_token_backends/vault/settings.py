"""Where Vault is and how it is reached, from the environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from astro_token.errors import ConfigError
from astro_token.transport.network import checked_address, proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

__all__ = ["Settings", "path_from", "read_settings", "text_from"]

_EXAMPLE = "as in VAULT_ADDR=https://vault.example.com:8200"
_PATH = r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*)(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*"
_NOT_TRUE = frozenset({"", "0", "f", "false"})


class Settings(NamedTuple):
    """
    Attributes:
        address: scheme, host, perhaps a port and a path, with no slash at the end.
        namespace: of the login, and of references that name none.
        proxy: for this address; it may hold a password.
        ca_file, ca_folder: replace the roots that are trusted by default; the first wins.
        more_cas: a file, added to whatever is trusted.
        client_certificate, client_key: files.
    """

    address: str
    namespace: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    ca_folder: str | None = None
    more_cas: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    def __repr__(self) -> str:
        return f"Settings({self.address}, …)"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """
    Raises:
        ConfigError: they are missing, malformed, or would weaken the connection.
            What was refused is not repeated: it may hold a password.
    """
    if environ.get("VAULT_SKIP_VERIFY", "").strip().lower() not in _NOT_TRUE:
        raise ConfigError(
            "VAULT_SKIP_VERIFY is set, and the certificate of Vault is never left unchecked",
            hint="unset it, and name the authority's file in VAULT_CACERT",
        )
    parts = _address(environ.get("VAULT_ADDR", "").strip())
    return Settings(
        address=f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/"),
        namespace=path_from(environ, "VAULT_NAMESPACE"),
        proxy=proxy_for(parts, environ),
        ca_file=environ.get("VAULT_CACERT") or None,
        ca_folder=environ.get("VAULT_CAPATH") or None,
        more_cas=environ.get("ASTRO_TOKEN_CA_BUNDLE") or None,
        client_certificate=environ.get("VAULT_CLIENT_CERT") or None,
        client_key=environ.get("VAULT_CLIENT_KEY") or None,
    )


def text_from(environ: Mapping[str, str], name: str) -> str | None:
    """A variable without the line end that reading it from a file has left; None where it is not set."""
    return environ.get(name, "").strip("\r\n") or None


def path_from(environ: Mapping[str, str], name: str) -> str | None:
    """
    A variable that becomes a part of a path.

    Raises:
        ConfigError: it could reach another path than the one that it names.
    """
    path = (text_from(environ, name) or "").strip("/")
    if path and not re.fullmatch(_PATH, path):
        raise ConfigError(
            f"{name} is malformed", hint="it is a path of letters, digits and _ . -, as in team/ci"
        )
    return path or None


def _address(address: str) -> SplitResult:
    if not address:
        raise ConfigError("VAULT_ADDR is not set", hint=f"set it to the address of Vault, {_EXAMPLE}")
    parts = checked_address(address, "VAULT_ADDR")
    path = parts.path.strip("/")
    if parts.query or (path and not re.fullmatch(_PATH, path)):
        raise ConfigError("VAULT_ADDR is malformed", hint=f"set it to the plain address of Vault, {_EXAMPLE}")
    return parts
