"""The keyring of the operating system: Secret Service, macOS Keychain, Windows Credential Manager."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

__all__ = ["SCHEMES"]

SCHEMES = {
    "keyring": Scheme(
        backend="astro_token_backends.keyring.client:Keyring",
        description="the keyring of the operating system",
        form="SERVICE/USERNAME",
        example="keyring:astro/prod",
        grammar=(r"[^\x00-\x1f\x7f]+/[^/\x00-\x1f\x7f]+",),
        opaque=True,
        extra="keyring",
        sdk="keyring",
        distributions=("keyring", "SecretStorage"),
        loggers=("keyring", "secretstorage", "jeepney", "asyncio"),
        settings=("PYTHON_KEYRING_BACKEND", "DBUS_SESSION_BUS_ADDRESS"),
    )
}
