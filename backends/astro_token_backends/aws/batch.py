"""Read several secrets: batches side by side, then the secrets that the batches left out, one by one."""

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
from astro_token.transport.deadline import with_deadline
from astro_token_backends.aws.endpoint import region_of
from astro_token_backends.aws.errors import is_of_credential, translated
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef

__all__ = ["in_batches"]

_A = TypeVar("_A")
_T = TypeVar("_T")
# Errors whose cause can be a single secret of the batch, or the permission for batches.
_SINGLE = (AccessDeniedError, BackendError, DecryptError, InvalidRefError, SecretNotFoundError)
_WORKERS = 8


def in_batches(
    refs: Sequence[SecretRef],
    size: int,
    group: Callable[[SecretRef], Hashable | None],
    read_batch: Callable[[Sequence[SecretRef]], Mapping[SecretRef, SecretValue | AstroTokenError]],
    read: Callable[[SecretRef], SecretValue],
) -> dict[SecretRef, SecretValue | AstroTokenError]:
    """
    Read several secrets. A region that refuses the credential gets no further requests.

    Args:
        size: the largest batch.
        group: secrets of one group can share a batch; None if the secret cannot be in any.
        read_batch: reads several secrets. Those that it leaves out are read one by one.
    """
    groups: dict[Hashable, list[SecretRef]] = {}
    singles: list[SecretRef] = []
    for ref in dict.fromkeys(refs):
        key = group(ref)
        (singles if key is None else groups.setdefault(key, [])).append(ref)
    batches = [refs[start : start + size] for refs in groups.values() for start in range(0, len(refs), size)]
    singles += [ref for batch in batches if len(batch) == 1 for ref in batch]
    batches = [batch for batch in batches if len(batch) > 1]
    outcomes: dict[SecretRef, SecretValue | AstroTokenError] = {}
    refusals: dict[str | None, AstroTokenError] = {}

    def caught(ref: SecretRef, call: Callable[[], _T]) -> _T | AstroTokenError:
        region = region_of(ref)  # a region that the account has not enabled refuses its credentials
        if region in refusals:
            return refusals[region]
        try:
            return call_sdk(call, translated)
        except AstroTokenError as error:
            if is_of_credential(error):
                refusals[region] = error
            return error.with_traceback(None)

    results = _side_by_side(lambda batch: caught(batch[0], lambda: read_batch(batch)), batches)
    for batch, outcome in zip(batches, results, strict=True):
        if not isinstance(outcome, AstroTokenError):
            outcomes.update(outcome)
            singles += [ref for ref in batch if ref not in outcome]
        elif isinstance(outcome, _SINGLE):
            singles += batch
        else:
            outcomes.update(dict.fromkeys(batch, outcome))
    values = _side_by_side(lambda ref: caught(ref, lambda: read(ref)), singles)
    outcomes.update(zip(singles, values, strict=True))
    return {ref: outcomes[ref] for ref in refs}


def _side_by_side(call: Callable[[_A], _T], items: Sequence[_A]) -> list[_T]:
    if len(items) < 2:  # noqa: PLR2004
        return [call(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(with_deadline(call), items))
