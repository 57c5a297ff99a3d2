"""A role and a secret id, which may be wrapped."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError
from astro_token.secret import SecretValue
from astro_token_backends.vault.login.answer import header, text
from astro_token_backends.vault.login.asked import Credential
from astro_token_backends.vault.refusals import StatusError

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["approle"]


def approle(asked: Asked) -> Credential:
    asked.required("VAULT_ROLE_ID")
    second = next(filter(asked.text, ("VAULT_WRAPPED_SECRET_ID", "VAULT_SECRET_ID")), "no secret id")
    return Credential(f"VAULT_ROLE_ID, {second}", lambda: _logged_in(asked))


def _logged_in(asked: Asked) -> Any:
    role_id = asked.required("VAULT_ROLE_ID")
    wrapped = asked.text("VAULT_WRAPPED_SECRET_ID")
    secret_id = _unwrapped(wrapped, asked) if wrapped else asked.text("VAULT_SECRET_ID")
    return asked.client("").auth.approle.login(role_id, secret_id, mount_point=asked.mount)


def _unwrapped(wrapped: str, asked: Asked) -> str:
    name = hashlib.sha256(wrapped.encode()).hexdigest()
    if name not in asked.unwrapped:
        try:
            answer = asked.client(header(wrapped, "VAULT_WRAPPED_SECRET_ID")).sys.unwrap()
        except StatusError as refused:
            hint = (
                "a wrapping token works once and not for long: make a new one; "
                "if nobody here has used it, its secret id may be stolen, and has to be destroyed"
            )
            if refused.explained:
                raise AccessDeniedError("Vault does not unwrap VAULT_WRAPPED_SECRET_ID", hint=hint) from None
            raise refused.translated(hint) from None
        secret_id = text(answer, "data", "secret_id")
        if secret_id is None:
            raise AccessDeniedError(
                "VAULT_WRAPPED_SECRET_ID wraps something else than a secret id",
                hint="make it with `vault write -wrap-ttl=… -f auth/approle/role/ROLE/secret-id`",
            )
        asked.unwrapped[name] = SecretValue(secret_id.encode())
    return asked.unwrapped[name].reveal().decode()
