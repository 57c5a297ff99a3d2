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

__all__ = [
    "Current",
    "check_write",
    "content_with",
    "encrypt_value",
    "read_current",
    "refuse_pinned",
    "write_secret",
    "write_token",
]


class Current(Record):
    """
    The secret before it is written.

    Attributes:
        value: None if there is no secret yet.
        version: the version to compare before the new one is set; None if the service has no versions.
    """

    value: SecretValue | None
    version: str | None


def read_current(ref: SecretRef, deadline: Deadline) -> Current:
    """
    Read the secret that would be replaced. A missing secret is not an error.

    Raises:
        InvalidRefError: the reference is pinned to a version.
        UnsupportedOperationError: the backend cannot write.
        AstroTokenError: reading failed.
    """
    refuse_pinned(ref)
    backend = require(open_backend(ref.scheme, deadline=deadline), "write", ref.scheme, "cannot be written")
    read = backend.read_current if can(backend, "read_current") else backend.read
    try:
        value = deadline.retry(lambda seconds: secret_value(read(ref.without_field(), timeout=seconds)))
    except SecretNotFoundError as error:
        return Current(None, error.version or "0")
    return Current(value, value.version)


def check_write(ref: SecretRef, deadline: Deadline) -> None:
    """
    Find out whether a secret can be written, as far as its service tells without a write.

    Raises:
        AstroTokenError: it cannot be written.
    """
    backend = open_backend(ref.scheme, deadline=deadline)
    if can(backend, "check_write"):
        deadline.retry(lambda seconds: backend.check_write(ref.without_field(), timeout=seconds))


def refuse_pinned(ref: SecretRef) -> None:
    """
    Raises:
        InvalidRefError: the reference is pinned to a version.
    """
    if ref.pinned:
        raise InvalidRefError(
            f"{ref}: a reference to one version cannot be written",
            hint="remove the version from the reference",
        )


def write_token(settings: TokenSettings, token: AstroToken, current: Current, deadline: Deadline) -> str:
    """
    Store a token, encrypted if the settings name a key, and return the name of the new version.

    Other fields of the secret are kept.

    Raises:
        BackendUnavailableError: another writer changed the secret after `current` was read,
            or the service did not answer.
        AstroTokenError: the backend failed.
    """
    content = content_with(settings, token, current, deadline)
    return write_secret(settings.ref, content, current, deadline, is_ciphertext=settings.decrypt is not None)


def content_with(
    settings: TokenSettings, token: AstroToken, current: Current, deadline: Deadline
) -> SecretValue:
    """Build a secret with all its fields that contains a token, encrypted if the settings name a key."""
    key, secret = settings.decrypt, token.secret
    if key is not None:
        secret = encrypt_value(key, secret, deadline)
    return merge_field(current.value, settings.ref.field, secret)


def write_secret(
    ref: SecretRef,
    content: SecretValue,
    current: Current,
    deadline: Deadline,
    *,
    is_ciphertext: bool = False,
) -> str:
    """
    Replace a secret with all its fields, and return the name of the new version.

    Args:
        is_ciphertext: a key service has encrypted the content.

    Raises:
        BackendUnavailableError: as `write_token`.
        AstroTokenError: the backend failed.
    """
    backend = require(open_backend(ref.scheme, deadline=deadline), "write", ref.scheme, "cannot be written")
    is_apart = is_ciphertext and can(backend, "write_ciphertext")
    write: Callable[..., str] = backend.write_ciphertext if is_apart else backend.write
    if current.version is None and current.value is not None:
        _require_unchanged(ref, current, deadline)
    logger.debug("writing %s", ref)
    try:
        return deadline.once(
            lambda seconds: write(
                ref.without_field(), content, expected_version=current.version, timeout=seconds
            )
        )
    except BackendUnavailableError as error:
        failure = error
    if not failure.outcome_known:  # without a response, the current secret shows the outcome
        after = read_current(ref, deadline)
        is_new = current.version is None or after.version != current.version
        if is_new and after.value is not None and same_secret(after.value, content):
            return after.version or ""
    raise failure.with_traceback(None) from None


def _require_unchanged(ref: SecretRef, current: Current, deadline: Deadline) -> None:
    """Compare values for services without versions. A change between this read and the write is missed."""
    after = read_current(ref, deadline).value
    if after is None or current.value is None or not same_secret(after, current.value):
        raise with_prefix(changed_meanwhile(), ref)


def encrypt_value(key: SecretRef, secret: SecretValue, deadline: Deadline) -> SecretValue:
    logger.debug("encrypting with %s", key)
    service = require(open_backend(key.scheme, deadline=deadline), "encrypt", key.scheme, "cannot encrypt")

    def encrypt(seconds: float) -> SecretValue:
        return encode_ciphertext(service.encrypt(key, secret, timeout=seconds))

    return prefixed_with(key, lambda: deadline.retry(encrypt))
