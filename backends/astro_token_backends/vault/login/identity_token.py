"""The logins with an identity token: of a CI job, or of a Kubernetes service account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError
from astro_token.secret import SecretValue
from astro_token_backends.credential_source import job_identity, printable_path
from astro_token_backends.vault.login.context import Credential, read_file

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["jwt", "kubernetes"]

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def jwt(context: LoginContext) -> Credential:
    identity = job_identity(
        context.text("ASTRO_TOKEN_VAULT_AUDIENCE"), environ=context.environ, timeout=context.seconds
    )
    if identity is None:
        from astro_token.ci.identity import identity_hint

        raise AccessDeniedError(
            "no usable credential for Vault: the login by jwt needs ASTRO_TOKEN_ID_TOKEN, "
            "or the identity that a CI system gives a job",
            hint=identity_hint(context.environ)
            or "set ASTRO_TOKEN_ID_TOKEN to the token that the CI system gives the job",
        )
    role = context.text("ASTRO_TOKEN_VAULT_ROLE")
    token = identity.token
    return Credential(
        context.with_role(identity.source),
        lambda: context.api("jwt:JWT").jwt_login(role, token.reveal().decode(), path=context.mount),
    )


def kubernetes(context: LoginContext) -> Credential:
    role = context.required("ASTRO_TOKEN_VAULT_ROLE")
    file = context.text("ASTRO_TOKEN_KUBERNETES_TOKEN_FILE") or _SERVICE_ACCOUNT
    text = read_file(
        file,
        "the login by kubernetes finds no token of a service account",
        hint="run in a pod with a service account, or set ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    )
    token = SecretValue(text.encode())
    return Credential(
        context.with_role(f"the service account's token in {printable_path(file)}"),
        lambda: context.api("kubernetes:Kubernetes").login(
            role, token.reveal().decode(), mount_point=context.mount
        ),
    )
