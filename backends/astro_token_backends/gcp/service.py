"""What the backends of Google Cloud have in common: one connection, and what they tell of the login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, BackendError
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.connection import Connection, shared

if TYPE_CHECKING:
    import ssl

    from astro_token.secrets.ref import SecretRef

__all__ = ["GcpService", "unknown"]


class GcpService:
    """
    One login serves all references.

    Args:
        client: the SDK's; it brings its own credentials.
        connection: in place of the one that all of the process share.
    """

    def __init__(self, client: Any = None, *, connection: Connection | None = None) -> None:
        self._injected = client
        self._connection = connection or shared()

    def trust(self, ref: SecretRef) -> ssl.SSLContext:  # noqa: ARG002 (the same for all)
        return call_sdk(self._connection.trust, unknown)

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:  # noqa: ARG002 (see above)
        if self._injected is not None:
            return "the client that was given"
        return call_sdk(lambda: self._connection.credential_source(timeout), unknown)

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:  # noqa: ARG002 (see above)
        if self._injected is None:
            call_sdk(lambda: self._connection.log_in(timeout), unknown)

    def close(self) -> None:
        self._connection.close()


def unknown(error: Exception) -> AstroTokenError:
    return BackendError(f"the backend of Google Cloud failed with {type(error).__name__}")
