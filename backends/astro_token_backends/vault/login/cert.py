"""The TLS client certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token_backends.vault.login.asked import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["cert"]


def cert(asked: Asked) -> Credential:
    asked.required("VAULT_CLIENT_CERT")  # the session shows it already
    role = asked.text("ASTRO_TOKEN_VAULT_ROLE") or ""
    key = ", VAULT_CLIENT_KEY" if asked.text("VAULT_CLIENT_KEY") else ""
    return Credential(
        asked.with_role(f"VAULT_CLIENT_CERT{key}"),
        lambda: asked.client("").auth.cert.login(name=role, mount_point=asked.mount),
    )
