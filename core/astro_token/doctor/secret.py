"""What is read: the permission, the secret, its version and field, and what decrypts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
    bare,
)
from astro_token.secrets.ciphertext import decode_ciphertext
from astro_token.secrets.fields import select_field
from astro_token.secrets.read import secret_value
from astro_token.secrets.registry import require

if TYPE_CHECKING:
    from astro_token.doctor.link import Chain
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.deadline import Deadline

__all__ = ["decrypted", "field_of", "read"]

# By these the service shows that it let us ask.
_ANSWERED = (SecretNotFoundError, DecryptError, InvalidTokenError)
_UNREAD = "the secret is not read"


def read(chain: Chain, ref: SecretRef, backend: Any | None, deadline: Deadline) -> SecretValue | None:
    """The whole secret, by one attempt."""
    if backend is None:
        chain.leave("permission", "secret", "version", why="there is no way to the service")
        return None
    try:
        readable = require(backend, "read", ref.scheme, "it names a key, not a secret")
        whole = secret_value(deadline.once(lambda seconds: readable.read(ref, timeout=seconds)))
    except AccessDeniedError as error:
        chain.fail("permission", bare(error))
        chain.leave("secret", "version", why=_UNREAD)
        return None
    except AstroTokenError as error:
        if isinstance(error, _ANSWERED):
            chain.add("permission", "ok", "the service answers")
        else:
            chain.leave("permission", why="the service gives no answer")
        chain.fail("secret", bare(error))
        chain.leave("version", why=_UNREAD)
        return None
    chain.add("permission", "ok", "may read")
    chain.add("secret", "ok", f"{ref.without_field()} is there")
    if whole.version:
        chain.add("version", "ok", whole.version)
    else:
        chain.add("version", "none", "the backend keeps none")
    return whole


def field_of(chain: Chain, ref: SecretRef, whole: SecretValue | None) -> SecretValue | None:
    if whole is None:
        chain.leave("field", why=_UNREAD)
        return None
    by = f"{ref.field}, by the reference" if ref.field else "token, the only one, or the secret as a whole"
    return chain.look("field", lambda: (select_field(whole, ref.field), by))


def decrypted(
    chain: Chain, key: SecretRef, backend: Any | None, chosen: SecretValue | None, deadline: Deadline
) -> SecretValue | None:
    if backend is None or chosen is None:
        why = _UNREAD if chosen is None else "there is no way to the key"
        chain.leave("decryption", why=why)
        return None

    def look() -> tuple[SecretValue, str]:
        service = require(backend, "decrypt", key.scheme, "it cannot decrypt")
        ciphertext = decode_ciphertext(chosen)
        plain = deadline.once(lambda seconds: service.decrypt(key, ciphertext, timeout=seconds))
        return secret_value(plain), f"with {key}"

    return chain.look("decryption", look)
