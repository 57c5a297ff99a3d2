"""The login with a Google service account: a JWT signed with its key, or by Google for its machine."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, BackendDownError, ConfigError, NoCredentialError
from astro_token.secret import SecretValue
from astro_token.system.files import read_credential
from astro_token_backends.boundary import call_sdk
from astro_token_backends.credential_source import printable_path
from astro_token_backends.vault.login.context import Credential, missing_package

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["gcp"]

_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_LIFETIME = 300  # seconds; a role accepts 900 unless it is configured for less


def gcp(context: LoginContext) -> Credential:
    role = context.required("ASTRO_TOKEN_VAULT_ROLE")
    audience = f"vault/{role}"
    file = context.text(_FILE)
    if file:
        where = _FILE if file.startswith("{") else f"{printable_path(file)} ({_FILE})"
        source = f"a service account's key in {where}"
        token = call_sdk(lambda: _signed(file, audience), _unusable)
    else:
        source = "the service account of Google's metadata server"
        token = _of_machine(context, audience)
    return Credential(
        context.with_role(source),
        lambda: context.api("gcp:Gcp").login(role, token.reveal().decode(), mount_point=context.mount),
    )


def _of_machine(context: LoginContext, audience: str) -> SecretValue:
    from astro_token.identity.google import google_identity

    try:
        return google_identity(audience, environ=context.environ, timeout=context.seconds)
    except BackendDownError:
        if context.text("GCE_METADATA_HOST"):
            raise
    raise NoCredentialError(
        "no usable credential for Vault: the login by gcp finds no service account",
        hint=f"name a key file in {_FILE}: this machine has no metadata server of Google's",
    )


def _signed(file: str, audience: str) -> SecretValue:
    try:
        from google.auth import crypt, jwt
    except ModuleNotFoundError:
        raise missing_package("gcp", "google-auth", "gcp") from None
    # CI systems keep the key itself in variables.
    account = json.loads(file if file.startswith("{") else read_credential(file))
    if account["type"] != "service_account":
        raise ConfigError(
            f"{_FILE} names a credential that is not a service account's key",
            hint="name a key file; unset the variable to use the service account of a Google machine",
        )
    claims = {"sub": account["client_email"], "aud": audience, "exp": int(time.time()) + _LIFETIME}
    signer = crypt.RSASigner.from_service_account_info(account)  # type: ignore[no-untyped-call]
    return SecretValue(jwt.encode(signer, claims))  # type: ignore[no-untyped-call]


def _unusable(_: Exception) -> AstroTokenError:
    # The file is the cause: nothing is sent here.
    return ConfigError(
        f"the file that {_FILE} names cannot be read, or is not a service account's key",
        hint="name the JSON file that Google created with the key",
    )
