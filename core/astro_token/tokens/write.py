"""The portable half of writing: one field among others, compare-and-set, and an outcome that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import BackendUnavailableError, InvalidRefError, SecretNotFoundError
from astro_token.log import logger
from astro_token.secrets.ciphertext import encode_ciphertext
from astro_token.secrets.fields import merge_field, same_secret
from astro_token.secrets.read import prefixed_with
from astro_token.secrets.registry import can, open_backend, require

if TYPE_CHECKING:
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken
    from astro_token.transport.deadline import Deadline

__all__ = ["Current", "read_current", "write_token"]


class Current:
    """
    What a reference holds before it is written.

    Attributes:
        value: None where there is no secret yet.
        version: which a new one has to follow, for compare-and-set; None where the service has no versions.
    """

    def __init__(self, value: SecretValue | None, version: str | None) -> None:
        self.value = value
        self.version = version


def read_current(settings: TokenSettings, deadline: Deadline) -> Current:
    """
    Reads what would be replaced.

    Raises:
        InvalidRefError: the reference is pinned to a version, and no new one could get its name.
        UnsupportedOperationError: the backend cannot write.
        AstroTokenError: as reading does; that there is no secret is no error here.
    """
    ref = settings.ref
    if ref.pinned:
        raise InvalidRefError(
            f"{ref}: a reference to one version cannot be written",
            hint="leave the version out of the reference",
        )
    backend = require(open_backend(ref.scheme), "write", ref.scheme, "it cannot be written")
    read = backend.read_current if can(backend, "read_current") else backend.read
    try:
        value = deadline.retry(lambda seconds: read(ref.without_field(), timeout=seconds))
    except SecretNotFoundError as error:
        return Current(None, error.version or "0")
    return Current(value, value.version)


def write_token(settings: TokenSettings, token: AstroToken, current: Current, deadline: Deadline) -> str:
    """
    Stores a token where its settings say, encrypted where they name a key. Returns the new version's name.

    A map keeps its other fields.

    Raises:
        BackendUnavailableError: somebody else wrote since `current` was read, or the service did not answer.
        AstroTokenError: as the backend.
    """
    ref = settings.ref.without_field()
    backend = require(open_backend(ref.scheme), "write", ref.scheme, "it cannot be written")
    secret, write = token.secret, backend.write
    if settings.decrypt is not None:
        secret = _encrypted(settings.decrypt, secret, deadline)
        if can(backend, "write_ciphertext"):
            write = backend.write_ciphertext
    whole = merge_field(current.value, settings.ref.field, secret)
    if current.version is None and current.value is not None:
        _see_that_nobody_wrote(settings, current, deadline)
    logger.debug("writing %s", settings.ref)
    try:
        version: str = deadline.once(
            lambda seconds: write(ref, whole, expected_version=current.version, timeout=seconds)
        )
    except BackendUnavailableError as error:
        failure = error
    else:
        return version
    if failure.known:
        raise failure.with_traceback(None) from None
    # An answer that is lost says nothing about what was done: what is there now does.
    after = read_current(settings, deadline)
    unchanged = current.version is not None and after.version == current.version
    if after.value is None or unchanged or not same_secret(after.value, whole):
        raise failure.with_traceback(None) from None
    return after.version or ""


def _see_that_nobody_wrote(settings: TokenSettings, current: Current, deadline: Deadline) -> None:
    """As near to compare-and-set as it gets without versions: it leaves a moment before the write."""
    if read_current(settings, deadline).value != current.value:
        raise BackendUnavailableError(
            f"{settings.ref}: somebody else wrote it in the meantime, and nothing was written",
            hint="look at it, and try again",
        )


def _encrypted(key: SecretRef, secret: SecretValue, deadline: Deadline) -> SecretValue:
    logger.debug("encrypting with %s", key)
    service = require(open_backend(key.scheme), "encrypt", key.scheme, "it cannot encrypt")
    return prefixed_with(
        key,
        lambda: encode_ciphertext(
            deadline.retry(lambda seconds: service.encrypt(key, secret, timeout=seconds))
        ),
    )
