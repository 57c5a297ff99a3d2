"""The identity of a Google service account: a JWT that its key signs, or Google for its machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendDownError, ConfigError
from astro_token.secret import SecretValue
from astro_token_backends.boundary import call_sdk
from astro_token_backends.credential_source import printable_path
from astro_token_backends.vault.login.asked import Credential, missing_package

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["gcp"]

_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_LIFETIME = 300  # seconds; a role takes 900 unless it says less


def gcp(asked: Asked) -> Credential:
    role = asked.required("ASTRO_TOKEN_VAULT_ROLE")
    audience = f"vault/{role}"
    file = asked.text(_FILE)
    if file:
        source = f"a service account's key in {printable_path(file)} ({_FILE})"
        token = call_sdk(lambda: _signed(file, audience), _unusable)
    else:
        source = "the service account of Google's metadata server"
        token = _of_machine(asked, audience)
    return Credential(
        asked.with_role(source),
        lambda: asked.client("").auth.gcp.login(role, token.reveal().decode(), mount_point=asked.mount),
    )


def _of_machine(asked: Asked, audience: str) -> SecretValue:
    from astro_token.identity import google_identity

    try:
        return google_identity(audience, environ=asked.environ, timeout=asked.seconds)
    except BackendDownError:
        if asked.text("GCE_METADATA_HOST"):
            raise
    raise AccessDeniedError(
        "no usable credential for Vault: the login by gcp finds no service account",
        hint=f"looked for a key file in {_FILE}, and for Google's metadata server, which is not known here",
    )


def _signed(file: str, audience: str) -> SecretValue:
    try:
        from google.auth import crypt, jwt
    except ModuleNotFoundError:
        raise missing_package("gcp", "google-auth", "gcp") from None
    account = json.loads(Path(file).read_text(encoding="utf-8"))
    if account["type"] != "service_account":
        raise ConfigError(
            f"the login by gcp needs a service account's key in {_FILE}, and there is another credential",
            hint="name a key file; on a machine of Google's leave it unset, and its service account is taken",
        )
    claims = {"sub": account["client_email"], "aud": audience, "exp": int(time.time()) + _LIFETIME}
    signer = crypt.RSASigner.from_service_account_info(account)  # type: ignore[no-untyped-call]
    return SecretValue(jwt.encode(signer, claims))  # type: ignore[no-untyped-call]


def _unusable(_: Exception) -> AstroTokenError:
    # Whatever it is, it is about the file: nothing is sent here.
    return ConfigError(
        f"the file that {_FILE} names cannot be read, or is no service account's key",
        hint="name the JSON file that Google gave when the key was made",
    )
