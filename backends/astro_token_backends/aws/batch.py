"""Several at once: batches side by side, and by itself whatever a batch does not bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    DecryptError,
    InvalidRefError,
    SecretNotFoundError,
)
from astro_token_backends.aws.place import region_of
from astro_token_backends.aws.refusals import is_of_credential, translated
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef

__all__ = ["in_batches"]

_T = TypeVar("_T")
# What one secret of a batch, or the right to batches, can be the cause of.
_OF_ONE = (AccessDeniedError, BackendError, DecryptError, InvalidRefError, SecretNotFoundError)
_WORKERS = 8


def in_batches(
    refs: Sequence[SecretRef],
    size: int,
    place: Callable[[SecretRef], Hashable | None],
    batch: Callable[[Sequence[SecretRef]], Mapping[SecretRef, SecretValue | AstroTokenError]],
    single: Callable[[SecretRef], SecretValue],
) -> dict[SecretRef, SecretValue | AstroTokenError]:
    """
    Where the credential is refused, no more is asked in that region.

    Args:
        size: how many one batch takes.
        place: only those of the same place go into one batch; None where it can be in none.
        batch: reads several; what it leaves out is read by itself.
    """
    places: dict[Hashable, list[SecretRef]] = {}
    alone: list[SecretRef] = []
    for ref in dict.fromkeys(refs):
        where = place(ref)
        (alone if where is None else places.setdefault(where, [])).append(ref)
    chunks = [refs[at : at + size] for refs in places.values() for at in range(0, len(refs), size)]
    alone += [ref for chunk in chunks if len(chunk) == 1 for ref in chunk]
    found: dict[SecretRef, SecretValue | AstroTokenError] = {}
    caught = _Calls().caught
    chunks = [chunk for chunk in chunks if len(chunk) > 1]
    for chunk, outcome in zip(
        chunks, _side_by_side(lambda chunk: caught(chunk[0], lambda: batch(chunk)), chunks), strict=True
    ):
        if not isinstance(outcome, AstroTokenError):
            found.update(outcome)
            alone += [ref for ref in chunk if ref not in outcome]
        elif isinstance(outcome, _OF_ONE):
            alone += chunk
        else:
            found.update(dict.fromkeys(chunk, outcome))
    found.update(zip(alone, _side_by_side(lambda ref: caught(ref, lambda: single(ref)), alone), strict=True))
    return {ref: found[ref] for ref in refs}


class _Calls:
    def __init__(self) -> None:
        self._refusals: dict[str | None, AstroTokenError] = {}

    def caught(self, ref: SecretRef, call: Callable[[], _T]) -> _T | AstroTokenError:
        """What a call returns or raises; a refusal of the credential is not sought twice."""
        region = region_of(ref)  # one that an account has not opted into knows no credential of it
        if region in self._refusals:
            return self._refusals[region]
        try:
            return call_sdk(call, translated)
        except AstroTokenError as error:
            if is_of_credential(error):
                self._refusals[region] = error
            return error.with_traceback(None)


_A = TypeVar("_A")


def _side_by_side(call: Callable[[_A], _T], several: Sequence[_A]) -> list[_T]:
    if len(several) < 2:  # noqa: PLR2004
        return [call(one) for one in several]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(call, several))
