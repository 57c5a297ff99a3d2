"""Entries of the operating system's keyring: `keyring:SERVICE/USERNAME`."""

from __future__ import annotations

import os
import sys

from astro_token.errors import ConfigError
from astro_token.system.variables import setting
from astro_token_backends.boundary import call_sdk
from astro_token_backends.keyring.errors import translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from astro_token.secret import SecretMetadata, SecretValue
    from astro_token.secrets.ref import SecretRef

    class Store(Protocol):
        """The keyring of one operating system. `seconds` bound a person's answer to its dialog."""

        def read(self, service: str, username: str, seconds: float) -> SecretValue: ...

        def describe(self, service: str, username: str, seconds: float) -> SecretMetadata: ...

        def write(
            self, service: str, username: str, value: SecretValue, expected: str | None, seconds: float
        ) -> str: ...


__all__ = ["Keyring"]

_CHOICE = "PYTHON_KEYRING_BACKEND"
# The names by which keyring knows the stores that are used here.
_NAMES = {
    "darwin": "keyring.backends.macOS.Keyring",
    "win32": "keyring.backends.Windows.WinVaultKeyring",
}
_OTHER_NAME = "keyring.backends.SecretService.Keyring"


class Keyring:
    """
    Backend for the operating system's keyring, with the same entries as the program `keyring`.

    Credentials: those of the user's session. Permissions: those that the keyring asks for.
    Reference: `keyring:SERVICE/USERNAME`. The last slash separates the two.

    The store is that of the system, and no other: keyring's own choice could be one in clear text.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or _store()

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        service, username = _entry(ref)
        return call_sdk(lambda: self._store.read(service, username, timeout), translated)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        service, username = _entry(ref)
        return call_sdk(lambda: self._store.describe(service, username, timeout), translated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        service, username = _entry(ref)
        return call_sdk(
            lambda: self._store.write(service, username, value, expected_version, timeout), translated
        )


def _store() -> Store:
    if sys.platform in _NAMES:
        from astro_token_backends.keyring.native import Native

        return Native()
    from astro_token_backends.keyring.secret_service import SecretService

    return SecretService()


def _entry(ref: SecretRef) -> tuple[str, str]:
    """
    Return the service and the username.

    Raises:
        ConfigError: the environment selects another keyring, so that the entry may be there.
    """
    choice = setting(os.environ, _CHOICE)
    if choice and choice != _NAMES.get(sys.platform, _OTHER_NAME):
        raise ConfigError(
            f"{_CHOICE} selects a keyring that is not the system's",
            hint=f"unset {_CHOICE}; other keyrings may store in clear text, and are not used",
        )
    service, _, username = ref.name.rpartition("/")
    return service, username
