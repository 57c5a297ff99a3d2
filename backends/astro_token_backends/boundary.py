"""The boundary to an SDK: neither its exceptions nor their frames get past it."""

from __future__ import annotations

from astro_token.errors import AstroTokenError, result, sanitized
from astro_token.system.os_errors import exhausted
from astro_token.system.programs import trusted_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")

__all__ = ["call_sdk"]


def call_sdk(call: Callable[[], _T], translated: Callable[[Exception], AstroTokenError]) -> _T:
    """
    Call an SDK and translate its exceptions.

    Args:
        translated: makes the error for an exception of the SDK, without any of its text.

    Raises:
        AstroTokenError: raised by the call, or translated; without a cause and without its frames.
    """

    def outcome() -> _T | AstroTokenError:
        try:
            with trusted_programs():
                return call()
        except AstroTokenError as error:
            return sanitized(error)
        except Exception as error:  # noqa: BLE001 (an SDK may raise anything)
            return exhausted(error) or sanitized(translated(error))

    return result(outcome())
