"""Write a token: merge its field with the others, compare and set, and read again after a lost response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import (
    BackendUnavailableError,
    InvalidRefError,
    SecretNotFoundError,
    changed_meanwhile,
    with_prefix,
)
from astro_token.log import logger
from astro_token.record import Record
from astro_token.secrets.ciphertext import encode_ciphertext
from astro_token.secrets.fields import merge_field, same_secret
from astro_token.secrets.read import prefixed_with, secret_value
from astro_token.secrets.registry import can, open_backend, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken
    from astro_token.transport.deadline import Deadline

__all__ = ["Current", "read_current", "write_token"]


class Current(Record):
    """
    The secret before it is written.

    Attributes:
        value: None if there is no secret yet.
        version: the version to compare before the new one is set; None if the service has no versions.
    """

    value: SecretValue | None
    version: str | None


def read_current(settings: TokenSettings, deadline: Deadline) -> Current:
    """
    Read the secret that would be replaced. A missing secret is not an error.

    Raises:
        InvalidRefError: the reference is pinned to a version.
        UnsupportedOperationError: the backend cannot write.
        AstroTokenError: reading failed.
    """
    ref = settings.ref
    if ref.pinned:
        raise InvalidRefError(
            f"{ref}: a reference to one version cannot be written",
            hint="remove the version from the reference",
        )
    backend = require(
        open_backend(ref.scheme, deadline=deadline), "write", ref.scheme, "it cannot be written"
    )
    read = backend.read_current if can(backend, "read_current") else backend.read
    try:
        value = deadline.retry(lambda seconds: secret_value(read(ref.without_field(), timeout=seconds)))
    except SecretNotFoundError as error:
        return Current(None, error.version or "0")
    return Current(value, value.version)


def write_token(settings: TokenSettings, token: AstroToken, current: Current, deadline: Deadline) -> str:
    """
    Store a token, encrypted if the settings name a key, and return the name of the new version.

    Other fields of the secret are kept.

    Raises:
        BackendUnavailableError: another writer changed the secret after `current` was read,
            or the service did not answer.
        AstroTokenError: the backend failed.
    """
    ref = settings.ref.without_field()
    backend = require(
        open_backend(ref.scheme, deadline=deadline), "write", ref.scheme, "it cannot be written"
    )
    secret = token.secret
    write: Callable[..., str] = backend.write
    if settings.decrypt is not None:
        secret = _encrypted(settings.decrypt, secret, deadline)
        if can(backend, "write_ciphertext"):
            write = backend.write_ciphertext
    content = merge_field(current.value, settings.ref.field, secret)
    if current.version is None and current.value is not None:
        _require_unchanged(settings, current, deadline)
    logger.debug("writing %s", settings.ref)
    try:
        return deadline.once(
            lambda seconds: write(ref, content, expected_version=current.version, timeout=seconds)
        )
    except BackendUnavailableError as error:
        failure = error
    if not failure.outcome_known:  # without a response, the current secret shows the outcome
        after = read_current(settings, deadline)
        is_new = current.version is None or after.version != current.version
        if is_new and after.value is not None and same_secret(after.value, content):
            return after.version or ""
    raise failure.with_traceback(None) from None


def _require_unchanged(settings: TokenSettings, current: Current, deadline: Deadline) -> None:
    """Compare values for services without versions. A change between this read and the write is missed."""
    if read_current(settings, deadline).value != current.value:
        raise with_prefix(changed_meanwhile(), settings.ref)


def _encrypted(key: SecretRef, secret: SecretValue, deadline: Deadline) -> SecretValue:
    logger.debug("encrypting with %s", key)
    service = require(open_backend(key.scheme, deadline=deadline), "encrypt", key.scheme, "it cannot encrypt")

    def encrypt(seconds: float) -> SecretValue:
        return encode_ciphertext(service.encrypt(key, secret, timeout=seconds))

    return prefixed_with(key, lambda: deadline.retry(encrypt))
