"""By which method, from the environment."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_token.errors import AccessDeniedError, ConfigError
from astro_token.secret import SecretValue
from astro_token_backends.vault.login.answer import Login, header, login_of
from astro_token_backends.vault.refusals import StatusError
from astro_token_backends.vault.settings import path_from, text_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token_backends.vault.login.asked import Asked, Client, Credential, Environ

__all__ = ["Found", "find"]

# By its name the module in this package that has a function of that name.
_METHODS = {
    "approle": "approle",
    "jwt": "identity",
    "kubernetes": "identity",
    "userpass": "password",
    "ldap": "password",
    "cert": "cert",
    "aws": "aws",
    "gcp": "gcp",
    "azure": "azure",
}
# What an unset ASTRO_TOKEN_VAULT_AUTH means, by the variables that are set; the first wins.
_BY_VARIABLES = {
    "token": ("VAULT_TOKEN",),
    "approle": ("VAULT_ROLE_ID",),
    "jwt": ("ASTRO_TOKEN_VAULT_ROLE",),  # and an identity of the CI system, which is looked for then
}
_SECRET_IDS = ("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID")


class Found(NamedTuple):
    """
    Attributes:
        source: the method and what it takes, for people.
        log_in: asks Vault, once.
    """

    source: str
    log_in: Callable[[], Login]


def find(environ: Environ, client: Client, unwrapped: dict[str, SecretValue], until: float) -> Found:
    """
    The login of the environment, its credential at hand; Vault has not been asked yet.

    Args:
        environ: where the credential is.
        client: makes an `hvac.Client` with a token.
        unwrapped: keeps what came out of a wrapping token, which cannot be used again.
        until: the end of the time for it, on the monotonic clock.

    Raises:
        AstroTokenError: there is no usable credential; by `log_in`: it was refused, or Vault did not answer.
    """
    method = _method(environ)
    if method == "token":
        token, place = _given_token(environ)
        return Found(f"token: {place}", lambda: Login(token))
    from astro_token_backends.vault.login.asked import Asked

    mount = path_from(environ, "ASTRO_TOKEN_VAULT_MOUNT") or method
    asked = Asked(method, mount, environ, client, unwrapped, until)
    credential = _function(method)(asked)
    at = "" if mount == method else f" at auth/{mount}"
    return Found(f"{method}{at}: {credential.source}", lambda: _logged_in(asked, credential))


def _logged_in(asked: Asked, credential: Credential) -> Login:
    method, mount = asked.method, asked.mount
    started = time.monotonic()
    try:
        answer = credential.log_in()
    except StatusError as refused:
        hint = f"see that auth/{mount} is the mount, and that role and credential are right and not used up"
        if method == "approle" and not any(asked.text(name) for name in _SECRET_IDS):
            hint = "VAULT_SECRET_ID is not set, or is empty, as secrets are in the jobs of a fork"
        if refused.explained:
            raise AccessDeniedError(f"Vault refuses the login by {method}", hint=hint) from None
        raise refused.translated(hint) from None
    return login_of(answer, method, started)


def _function(method: str) -> Any:
    return getattr(import_module(f"astro_token_backends.vault.login.{_METHODS[method]}"), method)


def _method(environ: Environ) -> str:
    asked = environ.get("ASTRO_TOKEN_VAULT_AUTH", "").strip()
    if asked:
        if asked not in {"token", *_METHODS}:
            known = ", ".join(("token", *_METHODS))
            raise ConfigError("ASTRO_TOKEN_VAULT_AUTH names no login method", hint=f"there are {known}")
        return asked
    for method, variables in _BY_VARIABLES.items():
        if all(text_from(environ, name) for name in variables):
            return method
    raise AccessDeniedError(
        "no usable credential for Vault",
        hint="looked for VAULT_TOKEN, VAULT_ROLE_ID, ASTRO_TOKEN_VAULT_ROLE with the CI system's identity "
        "or ASTRO_TOKEN_ID_TOKEN; "
        "other logins, and the token that `vault login` leaves, are chosen by ASTRO_TOKEN_VAULT_AUTH",
    )


def _given_token(environ: Environ) -> tuple[SecretValue, str]:
    token, place = text_from(environ, "VAULT_TOKEN"), "VAULT_TOKEN"
    if token is None:
        from pathlib import Path

        from astro_token_backends.credential_source import printable_path
        from astro_token_backends.vault.login.asked import from_file

        file = Path(environ.get("HOME") or "/nonexistent") / ".vault-token"
        place = printable_path(file)
        token = from_file(
            file,
            "VAULT_TOKEN is not set, and there is no token of `vault login`",
            hint="set VAULT_TOKEN, or log in with `vault login`",
        )
    return SecretValue(header(token, "the Vault token").encode()), place
