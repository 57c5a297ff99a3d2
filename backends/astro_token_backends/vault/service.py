"""What the backends of Vault have in common: one connection, and what they tell of the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.connection import Connection, shared, translated

if TYPE_CHECKING:
    import ssl

    from astro_token.secrets.ref import SecretRef

__all__ = ["VaultService"]


class VaultService:
    """
    One Vault serves all references.

    Args:
        connection: in place of the one that all of the process share.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        import hvac  # noqa: F401 (what is not installed has to show here)
        import requests  # noqa: F401

        self._connection = connection or shared()

    def address(self, ref: SecretRef) -> str:  # noqa: ARG002 (see above)
        return call_sdk(self._connection.address, translated)

    def trust(self, ref: SecretRef) -> ssl.SSLContext:  # noqa: ARG002 (see above)
        return call_sdk(self._connection.trust, translated)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002 (see above)
        return call_sdk(lambda: self._connection.credential_source(timeout), translated)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:  # noqa: ARG002 (see above)
        """With a token that was given there is nothing to do; whether it is good shows by reading."""
        call_sdk(lambda: self._connection.client(None, timeout), translated)

    def close(self) -> None:
        self._connection.close()
