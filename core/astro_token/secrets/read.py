"""Accept what backends return and raise."""

from __future__ import annotations

from astro_token.errors import AstroTokenError, BackendError, InvalidTokenError, with_prefix
from astro_token.secret import SecretValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from astro_token.secrets.ref import SecretRef

    _T = TypeVar("_T")

__all__ = ["SIZE_LIMIT", "prefixed_with", "secret_value", "too_large"]

SIZE_LIMIT = 256 * 1024  # bytes


def secret_value(returned: object) -> SecretValue:
    """
    Accept the return value of a backend: a secret before its field is selected.

    Raises:
        BackendError: it is not a `SecretValue`. It is not shown, because it may hold a secret.
        InvalidTokenError: it is too large to hold a token.
    """
    if not isinstance(returned, SecretValue):
        raise BackendError(
            "the backend did not return a SecretValue", hint="report it to the backend's authors"
        )
    if len(returned.reveal()) > SIZE_LIMIT:
        del returned  # a traceback would lead to it
        raise too_large()
    return returned


def too_large() -> InvalidTokenError:
    """Build the error of a secret that is too large to hold a token."""
    return InvalidTokenError(
        f"the secret is larger than {SIZE_LIMIT // 1024} KiB", hint="name a secret that holds a token"
    )


def prefixed_with(ref: SecretRef, call: Callable[[], _T]) -> _T:
    """Prefix errors with the reference and drop their traceback."""
    try:
        return call()
    except AstroTokenError as error:
        failure = with_prefix(error, ref)
    raise failure
