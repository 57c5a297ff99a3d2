"""Rules for what backends return and raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import AstroTokenError, BackendError, named
from astro_token.secret import SecretValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef

__all__ = ["naming", "secret_value"]

_T = TypeVar("_T")


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
