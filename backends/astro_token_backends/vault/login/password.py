"""A name and a password: Vault's own users, and those of a directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token_backends.vault.login.asked import Credential

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["ldap", "userpass"]


_SOURCE = "VAULT_USERNAME, VAULT_PASSWORD"


def userpass(asked: Asked) -> Credential:
    _given(asked)
    return Credential(
        _SOURCE, lambda: asked.client("").auth.userpass.login(*_given(asked), mount_point=asked.mount)
    )


def ldap(asked: Asked) -> Credential:
    _given(asked)
    return Credential(
        _SOURCE, lambda: asked.client("").auth.ldap.login(*_given(asked), mount_point=asked.mount)
    )


def _given(asked: Asked) -> tuple[str, str]:
    user = asked.required("VAULT_USERNAME")
    # It becomes a part of the path; Vault takes no other names either.
    if not re.fullmatch(r"\w(?:[\w.@-]*\w)?", user, re.ASCII):
        raise ConfigError(
            "VAULT_USERNAME is no user name of Vault", hint="letters, digits, _ . @ and - are allowed"
        )
    return user, asked.required("VAULT_PASSWORD")
