"""Read a secret: the value from its backend, the field of the reference, decryption if a key is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import AstroTokenError, BackendError, named
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import unpacked
from astro_token.secrets.fields import choose
from astro_token.secrets.protocols import Backend, SupportsDecrypt
from astro_token.secrets.registry import open_backend, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.deadline import Deadline

__all__ = ["naming", "plain", "read_secret", "read_whole", "secret_value"]

_T = TypeVar("_T")


def read_secret(
    ref: SecretRef,
    *,
    deadline: Deadline,
    decrypt: SecretRef | None = None,
    backend: Backend | None = None,
) -> SecretValue:
    """
    Reads a secret, chooses its field, and decrypts it where a key is named.

    Raises:
        AstroTokenError: as `read_token`, the errors about tokens apart.
            The message names the reference. Neither cause nor traceback leads to the backend's frames.
    """

    def read() -> SecretValue:
        whole = read_whole(ref, backend or open_backend(ref.scheme), deadline)
        return plain(whole, ref, decrypt, deadline)

    return naming(ref, read)


def read_whole(ref: SecretRef, backend: object, deadline: Deadline) -> SecretValue:
    """A secret with all its fields, as the backend keeps it."""
    logger.debug("reading %s", ref)
    readable = require(backend, Backend, ref.scheme, "it names a key, not a secret")
    return secret_value(deadline.retry(lambda seconds: readable.read(ref, timeout=seconds)))


def plain(whole: SecretValue, ref: SecretRef, decrypt: SecretRef | None, deadline: Deadline) -> SecretValue:
    """The field that the reference means, decrypted where a key is named."""
    chosen = choose(whole, ref.field)
    if decrypt is None:
        return chosen
    logger.debug("decrypting with %s", decrypt)
    key = require(open_backend(decrypt.scheme), SupportsDecrypt, decrypt.scheme, "it cannot decrypt")
    ciphertext = unpacked(chosen)
    decrypted = naming(
        decrypt,
        lambda: secret_value(
            deadline.retry(lambda seconds: key.decrypt(decrypt, ciphertext, timeout=seconds))
        ),
    )
    return SecretValue(decrypted.reveal(), chosen.version)


def secret_value(answer: object) -> SecretValue:
    """
    What a backend returned.

    Raises:
        BackendError: it is something else, which may hold a secret that can print itself.
    """
    if not isinstance(answer, SecretValue):
        raise BackendError("the backend returned no SecretValue", hint="report it to the backend's makers")
    return answer


def naming(ref: SecretRef, call: Callable[[], _T]) -> _T:
    """Puts the reference in front of what went wrong with it, and takes off what hangs on it."""
    try:
        return call()
    except AstroTokenError as error:
        failure = named(error, ref)
    raise failure
