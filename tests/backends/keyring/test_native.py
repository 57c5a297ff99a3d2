"""The keyrings of macOS and Windows, by the two methods of keyring's backends that are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness
from astro_token_backends.keyring.client import Keyring
from astro_token_backends.keyring.native import Native

if TYPE_CHECKING:
    from pathlib import Path


class Passwords:
    """Keeps passwords as those backends do: not in this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_password(self, service: str, username: str) -> str | None:
        path = self._folder / f"{service}-{username}"
        return path.read_bytes().decode() if path.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        (self._folder / f"{service}-{username}").write_bytes(password.encode())


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        passwords = Passwords(tmp_path)

        def store(value: bytes) -> None:
            passwords.set_password("a", "b", value.decode())

        return Harness(
            Keyring(Native(passwords)), store, "keyring:a/b", missing="keyring:a/c", writable="keyring:a/d"
        )


def test_a_locked_keychain_and_a_failure_have_their_errors(tmp_path: Path) -> None:
    from keyring.errors import KeyringError, KeyringLocked

    for kind, code in ((KeyringLocked, 77), (KeyringError, 70)):

        class Failing(Passwords):
            error = kind

            def get_password(self, service: str, username: str) -> str | None:
                raise self.error("with some text")

        with pytest.raises(AstroTokenError) as raised:
            Keyring(Native(Failing(tmp_path))).read(SecretRef("keyring", "a/b"), timeout=1)
        assert (code, False) == (raised.value.exit_code, "some text" in raised.value.message)
