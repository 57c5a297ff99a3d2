"""The boundary to an SDK: nothing that it raises gets past this line, and neither do the frames behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import AstroTokenError, bare, result
from astro_token.system.programs import trusted_programs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["across"]

_T = TypeVar("_T")


def across(call: Callable[[], _T], translated: Callable[[Exception], AstroTokenError]) -> _T:
    """
    What a call of an SDK returns.

    Args:
        translated: the error that an exception of the SDK stands for, with nothing of its text.

    Raises:
        AstroTokenError: as the call did, or translated; without a cause and without the frames behind it.
    """
    return result(_outcome(call, translated))


def _outcome(
    call: Callable[[], _T], translated: Callable[[Exception], AstroTokenError]
) -> _T | AstroTokenError:
    try:
        with trusted_programs():
            return call()
    except AstroTokenError as error:
        return bare(error)
    except Exception as error:  # noqa: BLE001 (an SDK raises what it likes)
        return bare(translated(error))
