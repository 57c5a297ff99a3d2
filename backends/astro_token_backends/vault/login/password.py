"""The logins with a user name and a password: of Vault's own users, and of a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token_backends.vault.login.context import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["ldap", "userpass"]


def userpass(context: LoginContext) -> Credential:
    return _credential(context, "userpass:Userpass")


def ldap(context: LoginContext) -> Credential:
    return _credential(context, "ldap:Ldap")


def _credential(context: LoginContext, api: str) -> Credential:
    _user_and_password(context)
    return Credential(
        "VAULT_USERNAME, VAULT_PASSWORD",
        lambda: context.api(api).login(*_user_and_password(context), mount_point=context.mount),
    )


def _user_and_password(context: LoginContext) -> tuple[str, str]:
    import re

    user = context.required("VAULT_USERNAME")
    # It becomes part of the path. Vault accepts no other names either.
    if not re.fullmatch(r"\w(?:[\w.@-]*\w)?", user, re.ASCII):
        raise ConfigError(
            "VAULT_USERNAME is not a user name of Vault", hint="use letters, digits, _ . @ and -"
        )
    return user, context.required("VAULT_PASSWORD")
