"""The macOS Keychain and the Windows Credential Manager, by keyring's own backends."""

from __future__ import annotations

import hmac
import os
import sys
from contextlib import suppress
from typing import Any

from astro_token.errors import AstroTokenError, changed_meanwhile, result
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.system.terminal import can_prompt
from astro_token_backends.keyring.errors import missing

__all__ = ["Native"]


class Native:
    """
    The keyring of macOS or Windows, which has no versions.

    Here a version is made from the value with a key of this process: it only serves to notice a change
    between a read and a write.
    """

    def __init__(self, store: Any = None) -> None:
        self._store = store or _system_store()
        self._key = os.urandom(32)

    def read(self, service: str, username: str, seconds: float) -> SecretValue:  # noqa: ARG002
        return result(self._read(service, username))

    def describe(self, service: str, username: str, seconds: float) -> SecretMetadata:
        return SecretMetadata(version=self.read(service, username, seconds).version)

    def write(
        self, service: str, username: str, value: SecretValue, expected: str | None, seconds: float
    ) -> str:
        del seconds
        if expected is not None:
            current = self._read(service, username)
            version = "0" if isinstance(current, AstroTokenError) else current.version
            if expected != version:
                del current
                raise changed_meanwhile()
        self._store.set_password(service, username, value.reveal().decode())
        return self._version(value.reveal())

    def _read(self, service: str, username: str) -> SecretValue | AstroTokenError:
        if not can_prompt():
            _forbid_dialogs()
        password = self._store.get_password(service, username)
        if password is None:
            return missing()
        data = password.encode()
        return SecretValue(data, self._version(data))

    def _version(self, data: bytes) -> str:
        return hmac.digest(self._key, data, "sha256").hex()[:16]


def _system_store() -> Any:
    """Return the system's own store. keyring's choice depends on files and could be one in clear text."""
    if sys.platform == "darwin":
        from keyring.backends.macOS import Keyring

        store = Keyring()
        store.keychain = None  # a variable could name another one, which keyring ignores with a warning
        return store
    from keyring.backends import Windows

    store: Any = Windows
    return store.WinVaultKeyring()


def _forbid_dialogs() -> None:
    """Let the macOS Keychain fail where it would show a dialog."""
    import ctypes

    with suppress(OSError, AttributeError):  # other systems have no such library
        security = ctypes.CDLL("/System/Library/Frameworks/Security.framework/Security")
        security.SecKeychainSetUserInteractionAllowed(0)
