"""Read a secret: its value from the backend, the field of the reference, decryption if a key is named."""

from __future__ import annotations

from astro_token.errors import AstroTokenError, BackendError, named
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import decode_ciphertext
from astro_token.secrets.fields import select_field
from astro_token.secrets.registry import open_backend, require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from astro_token.secrets.protocols import Backend
    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.deadline import Deadline

    _T = TypeVar("_T")

__all__ = ["prefixed_with", "read_secret", "read_secret_value", "secret_value", "select_and_decrypt"]


def read_secret(
    ref: SecretRef,
    *,
    deadline: Deadline,
    decrypt: SecretRef | None = None,
    backend: Backend | None = None,
) -> SecretValue:
    """
    Read a secret, select its field, and decrypt it if a key is named.

    Raises:
        AstroTokenError: as `read_token`, except for errors about tokens.
            The message names the reference. Neither cause nor traceback leads to the backend's frames.
    """

    def read() -> SecretValue:
        secret = read_secret_value(ref, backend or open_backend(ref.scheme), deadline)
        return select_and_decrypt(secret, ref, decrypt, deadline)

    return prefixed_with(ref, read)


def read_secret_value(ref: SecretRef, backend: object, deadline: Deadline) -> SecretValue:
    """Read a secret with all its fields."""
    logger.debug("reading %s", ref)
    readable = require(backend, "read", ref.scheme, "it names a key, not a secret")
    return secret_value(deadline.retry(lambda seconds: readable.read(ref, timeout=seconds)))


def select_and_decrypt(
    secret: SecretValue, ref: SecretRef, decrypt: SecretRef | None, deadline: Deadline
) -> SecretValue:
    """Select the field of the reference, and decrypt it if a key is named."""
    field = select_field(secret, ref.field)
    if decrypt is None:
        return field
    logger.debug("decrypting with %s", decrypt)
    key = require(open_backend(decrypt.scheme), "decrypt", decrypt.scheme, "it cannot decrypt")
    ciphertext = decode_ciphertext(field)
    decrypted = prefixed_with(
        decrypt,
        lambda: secret_value(
            deadline.retry(lambda seconds: key.decrypt(decrypt, ciphertext, timeout=seconds))
        ),
    )
    return SecretValue(decrypted.reveal(), field.version)


def secret_value(returned: object) -> SecretValue:
    """
    Accept the return value of a backend.

    Raises:
        BackendError: it is not a `SecretValue`. It is not shown, because it may hold a secret.
    """
    if not isinstance(returned, SecretValue):
        raise BackendError(
            "the backend did not return a SecretValue", hint="report it to the backend's authors"
        )
    return returned


def prefixed_with(ref: SecretRef, call: Callable[[], _T]) -> _T:
    """Prefix errors with the reference and drop their traceback."""
    try:
        return call()
    except AstroTokenError as error:
        failure = named(error, ref)
    raise failure
