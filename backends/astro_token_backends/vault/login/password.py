"""The logins with a user name and a password: of Vault's own users, and of a directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token_backends.vault.login.context import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["ldap", "userpass"]


def userpass(context: LoginContext) -> Credential:
    user = context.required("VAULT_USERNAME")
    # It becomes part of the path. Vault accepts no other names either.
    if not re.fullmatch(r"\w(?:[\w.@-]*\w)?", user, re.ASCII):
        raise ConfigError(
            "VAULT_USERNAME is not a user name of Vault", hint="use letters, digits, _ . @ and -"
        )
    context.required("VAULT_PASSWORD")
    method = context.method
    return Credential(
        "VAULT_USERNAME, VAULT_PASSWORD",
        lambda: context.api(f"{method}:{method.capitalize()}").login(
            user, context.required("VAULT_PASSWORD"), mount_point=context.mount
        ),
    )


ldap = userpass  # the requests differ only in the method's name
