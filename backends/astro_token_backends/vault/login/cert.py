"""The login with a TLS client certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token_backends.vault.login.context import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["cert"]


def cert(context: LoginContext) -> Credential:
    context.required("VAULT_CLIENT_CERT")  # which every connection shows
    key = ", VAULT_CLIENT_KEY" if context.text("VAULT_CLIENT_KEY") else ""
    return Credential(
        context.with_role(f"VAULT_CLIENT_CERT{key}"),
        lambda: context.post(name=context.text("ASTRO_TOKEN_VAULT_ROLE")),
    )
