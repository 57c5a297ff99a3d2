"""The TLS client certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["cert"]


def cert(asked: Asked) -> Any:
    asked.required("VAULT_CLIENT_CERT")  # the session shows it already
    return asked.client("").auth.cert.login(
        name=asked.text("ASTRO_TOKEN_VAULT_ROLE") or "", mount_point=asked.mount
    )
