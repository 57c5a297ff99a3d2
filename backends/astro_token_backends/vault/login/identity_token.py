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

# Vault's reason may not be shown, so it selects one of our sentences, and a part of the advice.
_CAUSES = (
    ('role "', "there is no such role", "name"),
    ("invalid audience", "the role is for another audience", "audience"),
    ("invalid subject", "the role is for another sub", "claims"),
    ("invalid issuer", "the mount is for another iss", "mount"),
    ("token is expired", "the identity has expired", "expiry"),
    ("could not load configuration", "the mount has no configuration", "mount"),
    ("verifying token signature", "the mount has other keys than the issuer of the identity", "mount"),
    *((f'claim "{name}"', f"the role is for another {name}", "claims") for name in SHOWN_CLAIMS),
    ("validating claims", "the role is for another job", "claims"),
)
_SHOWN = "`astro-token doctor` shows"
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
    advice = _advice(context.mount, role, audience)
    return Credential(
        context.with_role(identity.source),
        lambda: context.api("jwt:JWT").jwt_login(role, token.reveal().decode(), path=context.mount),
        hint=f"check that {', that '.join(advice[part] for part in ('name', 'audience', 'claims'))}",
        causes=tuple((reason, f"{cause}: check that {advice[part]}") for reason, cause, part in _CAUSES),
        claims=describe_identity(token),
    )


def _advice(mount: str, role: str | None, audience: str | None) -> dict[str, str]:
    """Return a clause about each part of a login that Vault checks."""
    named = f"role {printable(role)}" if role else "the default role"
    variable = (
        "(ASTRO_TOKEN_VAULT_ROLE)" if role else "which is used because ASTRO_TOKEN_VAULT_ROLE is not set,"
    )
    bound = f"the bound_audiences of {named}"
    matching = (
        f"{bound} contain {printable(audience)}, which ASTRO_TOKEN_VAULT_AUDIENCE requests"
        if audience
        else f"ASTRO_TOKEN_VAULT_AUDIENCE, which is not set, names one of {bound}"
    )
    return {
        "name": f"{named} {variable} exists at auth/{mount} (ASTRO_TOKEN_VAULT_MOUNT)",
        "audience": matching,
        "claims": f"the bound_subject and bound_claims of {named} match the claims that {_SHOWN}",
        "mount": f"auth/{mount} (ASTRO_TOKEN_VAULT_MOUNT) is configured for the iss that {_SHOWN}",
        "expiry": "the identity is requested in this job, and that the clocks of its issuer and Vault agree",
    }


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
