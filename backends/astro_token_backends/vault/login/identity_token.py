"""The logins with an identity token: of a CI job, or of a Kubernetes service account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import NoCredentialError
from astro_token.identity.web_token import SHOWN_CLAIMS, describe_identity
from astro_token.secret import SecretValue
from astro_token_backends.credential_source import job_identity, printable, printable_path
from astro_token_backends.vault.login.context import Credential, read_file

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["jwt", "kubernetes"]

# Vault's reason may not be shown, so it selects one of our sentences.
_CAUSES = (
    ('role "', "there is no such role"),
    ("invalid audience", "the role is for another audience"),
    ("invalid subject", "the role is for another sub"),
    ("invalid issuer", "the mount is for another iss"),
    ("token is expired", "the identity has expired"),
    ("could not load configuration", "the mount has no configuration"),
    ("verifying token signature", "the mount has other keys than the issuer of the identity"),
    *((f'claim "{name}"', f"the role is for another {name}") for name in SHOWN_CLAIMS),
    ("validating claims", "the role is for another job"),
)
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def jwt(context: LoginContext) -> Credential:
    audience = context.text("ASTRO_TOKEN_VAULT_AUDIENCE")
    identity = job_identity(
        "ASTRO_TOKEN_VAULT_AUDIENCE", None, environ=context.environ, timeout=context.seconds
    )
    if identity is None:
        from astro_token.ci.identity import identity_hint

        raise NoCredentialError(
            "no usable credential for Vault: the login by jwt needs ASTRO_TOKEN_ID_TOKEN, "
            "or the identity that a CI system gives a job",
            hint=identity_hint(context.environ)
            or "set ASTRO_TOKEN_ID_TOKEN to the token that the CI system gives the job, "
            "or select another login: ASTRO_TOKEN_VAULT_ROLE alone selects this one",
        )
    role = context.text("ASTRO_TOKEN_VAULT_ROLE")
    token = identity.token
    return Credential(
        context.with_role(identity.source),
        lambda: context.api("jwt:JWT").jwt_login(role, token.reveal().decode(), path=context.mount),
        hint=_role_hint(context.mount, role, audience),
        causes=_CAUSES,
        claims=describe_identity(token),
    )


def _role_hint(mount: str, role: str | None, audience: str | None) -> str:
    """Name everything that a role checks."""
    name = (
        f"role {printable(role)} (ASTRO_TOKEN_VAULT_ROLE)"
        if role
        else "the default role, because ASTRO_TOKEN_VAULT_ROLE is not set,"
    )
    requested = (
        f"{printable(audience)}, which ASTRO_TOKEN_VAULT_AUDIENCE requests"
        if audience
        else "the token's aud, because ASTRO_TOKEN_VAULT_AUDIENCE is not set"
    )
    return (
        f"check that {name} exists at auth/{mount} (ASTRO_TOKEN_VAULT_MOUNT), "
        f"that its bound_audiences contain {requested}, "
        "and that its bound_subject and bound_claims (repository, ref, environment, …) "
        "match the claims that `astro-token doctor` shows"
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
