"""An identity token that somebody else vouches for: the CI system, or Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError
from astro_token.secret import SecretValue
from astro_token_backends.credential_source import job_identity, printable_path
from astro_token_backends.vault.login.asked import Credential, from_file

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["jwt", "kubernetes"]

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def jwt(asked: Asked) -> Credential:
    identity = job_identity(
        asked.text("ASTRO_TOKEN_VAULT_AUDIENCE"), environ=asked.environ, timeout=asked.seconds
    )
    if identity is None:
        from astro_token.identity import identity_hint

        raise AccessDeniedError(
            "no usable credential for Vault: the login by jwt needs ASTRO_TOKEN_ID_TOKEN, "
            "or the identity that a CI system gives a job",
            hint=identity_hint(asked.environ)
            or "set ASTRO_TOKEN_ID_TOKEN to the token that the CI system gives the job",
        )
    role = asked.text("ASTRO_TOKEN_VAULT_ROLE")
    token = identity.token
    return Credential(
        asked.with_role(identity.source),
        lambda: asked.client("").auth.jwt.jwt_login(role, token.reveal().decode(), path=asked.mount),
    )


def kubernetes(asked: Asked) -> Credential:
    role = asked.required("ASTRO_TOKEN_VAULT_ROLE")
    file = asked.text("ASTRO_TOKEN_KUBERNETES_TOKEN_FILE") or _SERVICE_ACCOUNT
    token = from_file(
        Path(file),
        "the login by kubernetes finds no token of a service account",
        hint="run in a pod with a service account, or set ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    )
    kept = SecretValue(token.encode())
    return Credential(
        asked.with_role(f"the service account's token in {printable_path(file)}"),
        lambda: asked.client("").auth.kubernetes.login(role, kept.reveal().decode(), mount_point=asked.mount),
    )
