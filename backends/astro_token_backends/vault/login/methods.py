"""The choice of the login method, from the environment."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, ConfigError, NoCredentialError
from astro_token.record import Record
from astro_token.secret import SecretValue
from astro_token.system.variables import setting
from astro_token_backends.vault.errors import StatusError
from astro_token_backends.vault.login.response import Login, checked_token, parse_login
from astro_token_backends.vault.settings import path_setting, text_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token_backends.aws.settings import Options
    from astro_token_backends.vault.login.context import Credential, LoginContext

__all__ = ["PreparedLogin", "prepare_login", "token_renewal"]

# The module in this package that has a function of the method's name.
_METHODS = {
    "approle": "approle",
    "jwt": "identity_token",
    "kubernetes": "identity_token",
    "userpass": "password",
    "ldap": "password",
    "cert": "cert",
    "aws": "aws",
    "gcp": "gcp",
    "azure": "azure",
}
# The method if ASTRO_TOKEN_VAULT_AUTH is unset: the first whose variable is set.
_BY_VARIABLE = {
    "token": "VAULT_TOKEN",
    "approle": "VAULT_ROLE_ID",
    "jwt": "ASTRO_TOKEN_VAULT_ROLE",  # and the identity of the CI job
}
_SECRET_IDS = ("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID")


class PreparedLogin(Record):
    """
    Attributes:
        source: the method and its credential, for people.
        log_in: sends one login.
        claims: of the identity that is sent, for `doctor`.
    """

    source: str
    log_in: Callable[[], Login]
    claims: str = ""


def prepare_login(
    environ: Mapping[str, str],
    adapter: Callable[[str], Any],
    unwrapped: dict[str, SecretValue],
    until: float,
    aws: Options | None = None,
) -> PreparedLogin:
    """
    Choose the method and read its credential. Nothing is sent to Vault yet.

    Args:
        adapter, unwrapped, until, aws: as in `LoginContext`.

    Raises:
        AstroTokenError: there is no usable credential; by `log_in`: Vault refuses it, or does not respond.
    """
    method = _method(environ)
    if method == "token":
        token, source = _given_token(environ)
        return PreparedLogin(f"token: {source}", lambda: Login(token))
    from astro_token_backends.vault.login.context import LoginContext

    mount = path_setting(environ, "ASTRO_TOKEN_VAULT_MOUNT") or method
    context = LoginContext(method, mount, environ, adapter, unwrapped, until, aws)
    module = import_module(f"astro_token_backends.vault.login.{_METHODS[method]}")
    credential: Credential = getattr(module, method)(context)
    at = "" if mount == method else f" at auth/{mount}"
    source = f"{method}{at}: {credential.source}"
    return PreparedLogin(source, lambda: _log_in(context, credential), credential.claims)


def _log_in(context: LoginContext, credential: Credential) -> Login:
    method = context.method
    started = time.monotonic()
    try:
        content = credential.log_in()
    except StatusError as refused:
        role = ", ASTRO_TOKEN_VAULT_ROLE" if context.text("ASTRO_TOKEN_VAULT_ROLE") else ""
        general = (
            f"check {credential.source}{role}, "
            f"and that auth/{context.mount} is the mount (ASTRO_TOKEN_VAULT_MOUNT)"
        )
        hint = credential.hint or general
        if method == "approle" and not any(map(context.text, _SECRET_IDS)):
            hint = (
                "set VAULT_SECRET_ID, and check VAULT_ROLE_ID; "
                "CI systems leave secrets empty in the jobs of a fork"
            )
        if cause := next((cause for reason, cause in credential.causes if refused.says(reason)), None):
            hint = cause
        if refused.is_explained:
            raise AccessDeniedError(f"Vault refuses the login by {method}", hint=hint) from None
        raise refused.translated(hint) from None
    return parse_login(content, method, started)


def _method(environ: Mapping[str, str]) -> str:
    name = setting(environ, "ASTRO_TOKEN_VAULT_AUTH")
    if name:
        if name not in {"token", *_METHODS}:
            methods = ", ".join(("token", *_METHODS))
            raise ConfigError("ASTRO_TOKEN_VAULT_AUTH names no login method", hint=f"use one of {methods}")
        return name
    for method, variable in _BY_VARIABLE.items():
        if text_setting(environ, variable):
            return method
    raise NoCredentialError(
        "no usable credential for Vault",
        hint="set VAULT_TOKEN, VAULT_ROLE_ID, or ASTRO_TOKEN_VAULT_ROLE with the CI system's identity "
        "or ASTRO_TOKEN_ID_TOKEN; "
        "select other logins, and the token of `vault login`, with ASTRO_TOKEN_VAULT_AUTH",
    )


def token_renewal(environ: Mapping[str, str]) -> str:
    """Name the remedy for a given token that Vault does not accept, or no longer."""
    if text_setting(environ, "VAULT_TOKEN"):
        return "set VAULT_TOKEN to a valid token"
    from astro_token.system.programs import find_program
    from astro_token_backends.credential_source import renewal

    is_bao = find_program("bao", environ) and not find_program("vault", environ)
    return renewal(
        "bao login" if is_bao else "vault login",
        "select the login of the job with ASTRO_TOKEN_VAULT_AUTH, such as jwt",
        environ,
    )


def _given_token(environ: Mapping[str, str]) -> tuple[SecretValue, str]:
    token, source = text_setting(environ, "VAULT_TOKEN"), "VAULT_TOKEN"
    if token is None:
        from astro_token_backends.credential_source import printable_path
        from astro_token_backends.vault.login.context import read_file

        file = f"{setting(environ, 'HOME') or '/nonexistent'}/.vault-token"
        source = printable_path(file)
        token = read_file(
            file,
            "VAULT_TOKEN is not set, and `vault login` has left no token",
            hint="set VAULT_TOKEN, or log in with `vault login`",
        )
    return SecretValue(checked_token(token, source).encode()), source
