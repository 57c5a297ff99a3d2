"""The login with a role ID and a secret ID, which may be wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError
from astro_token.secret import SecretValue
from astro_token_backends.vault.errors import StatusError
from astro_token_backends.vault.login.context import Credential
from astro_token_backends.vault.login.response import checked_token, string_at

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["approle"]


def approle(context: LoginContext) -> Credential:
    context.required("VAULT_ROLE_ID")
    second = next(filter(context.text, ("VAULT_WRAPPED_SECRET_ID", "VAULT_SECRET_ID")), "no secret id")
    return Credential(f"VAULT_ROLE_ID, {second}", lambda: _log_in(context))


def _log_in(context: LoginContext) -> Any:
    role_id = context.required("VAULT_ROLE_ID")
    wrapping = context.text("VAULT_WRAPPED_SECRET_ID")
    secret_id = _unwrap(wrapping, context) if wrapping else context.text("VAULT_SECRET_ID")
    return context.api("approle:AppRole").login(role_id, secret_id, mount_point=context.mount)


def _unwrap(wrapping: str, context: LoginContext) -> str:
    import hashlib

    name = hashlib.sha256(wrapping.encode()).hexdigest()
    if name not in context.unwrapped:
        adapter = context.adapter(checked_token(wrapping, "VAULT_WRAPPED_SECRET_ID"))
        try:
            content = adapter.api("system_backend.wrapping:Wrapping").unwrap()
        except StatusError as refused:
            hint = (
                "create a new wrapping token: it works once, and for a short time; "
                "if none of your jobs has used it, the secret ID may be stolen: destroy it"
            )
            if refused.is_explained:
                raise AccessDeniedError("Vault does not unwrap VAULT_WRAPPED_SECRET_ID", hint=hint) from None
            raise refused.translated(hint) from None
        secret_id = string_at(content, "data", "secret_id")
        if secret_id is None:
            raise AccessDeniedError(
                "VAULT_WRAPPED_SECRET_ID does not wrap a secret ID",
                hint="create it with `vault write -wrap-ttl=… -f auth/approle/role/ROLE/secret-id`",
            )
        context.unwrapped[name] = SecretValue(secret_id.encode())
    return context.unwrapped[name].reveal().decode()
