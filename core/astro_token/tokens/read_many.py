"""
Many tokens at once: side by side within one deadline, and by the batch where the service has one.

One login per backend, one read per secret however many of its fields are tokens;
what fails hides no other, and the order is that of the question.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    bare,
    named,
    result,
    worst,
)
from astro_token.log import logger
from astro_token.policy.rules import enforce
from astro_token.secrets.read import prefixed_with, read_secret_value, secret_value, select_and_decrypt
from astro_token.secrets.registry import can, open_backend
from astro_token.settings.resolve import TokenSettings, resolve_several
from astro_token.tokens.read import judged
from astro_token.transport.deadline import DEFAULT_SECONDS, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from astro_token.astro_api import AstroApi
    from astro_token.policy.rules import Policy, Verdict
    from astro_token.secret import SecretValue
    from astro_token.secrets.protocols import SupportsReadMany
    from astro_token.secrets.ref import SecretRef
    from astro_token.token import AstroToken
    from astro_token.tokens.online import Online

__all__ = ["Finding", "find_all", "read_tokens"]

WORKERS = 16
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What came of one token.

    Attributes:
        settings: None where what was asked for is no token that could be looked for.
        token: None where it could not be read.
        error: what keeps the token from being used; None where nothing does.
        online: what came of asking Astro; None where it was not asked.
    """

    settings: TokenSettings | None
    token: AstroToken | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: AstroTokenError | None = None
    online: Online | None = None

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0

    @property
    def status(self) -> str:
        if self.error is not None:
            return "failed"
        return "warning" if self.verdicts else "ok"


def read_tokens(
    tokens: Sequence[str | SecretRef] | None = None,
    *,
    policy: Policy | None = None,
    timeout: float | None = None,
) -> list[AstroToken | AstroTokenError]:
    """
    Reads and checks several tokens as `read_token` does each, at the same time.

    Args:
        tokens: references, or names from the project's file; None for all that this names.
        timeout: seconds for all of them together.

    Returns:
        in the order asked, each token, or the error in its place.

    Raises:
        ConfigError: settings that concern all of them.
    """
    found = find_all(resolve_several(tokens, policy=policy, timeout=timeout))
    return [finding.error or finding.token or BackendError("nothing was read") for finding in found]


def find_all(
    wanted: Sequence[TokenSettings | AstroTokenError],
    *,
    done: Callable[[], None] = lambda: None,
    online: bool = False,
) -> list[Finding]:
    """
    Reads all within one deadline, and judges each.

    Args:
        wanted: as `resolve_several` returns them.
        done: is called after each, from any thread.
        online: asks Astro about each, as it does where policy wants it.

    Raises:
        ConfigError: the address of Astro's API is refused.
    """
    api = _api(wanted, online=online)
    deadline = Deadline(
        next((one.timeout for one in wanted if isinstance(one, TokenSettings)), DEFAULT_SECONDS)
    )
    pool = _Here() if len(wanted) == 1 else _pool()
    try:
        # First all that is read, then what waits for it: no worker waits for what has no worker yet.
        secrets = _read_all([one for one in wanted if isinstance(one, TokenSettings)], deadline, pool)
        futures = [
            pool.submit(_find, one, secrets, deadline, done, api)
            if isinstance(one, TokenSettings)
            else _finished(one, done)
            for one in wanted
        ]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a signal must not wait for what is under way
        if api is not None:
            api.close()


class _Done(Generic[_T]):
    """As a future whose result is there."""

    def __init__(self, value: _T) -> None:
        self.value = value

    def result(self) -> _T:
        return self.value


class _Here:
    """Does at once what is submitted: for one token, threads would take longer than all of its check."""

    def submit(self, function: Callable[..., _T], *arguments: Any) -> _Done[_T]:
        return _Done(function(*arguments))

    def shutdown(self, **_options: bool) -> None:
        pass


def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(WORKERS)


def _api(wanted: Sequence[TokenSettings | AstroTokenError], *, online: bool) -> AstroApi | None:
    """One for all; None where Astro is not to be asked."""
    if not (online or any(one.policy.online for one in wanted if isinstance(one, TokenSettings))):
        return None
    from astro_token.astro_api import AstroApi

    return AstroApi()


# A worker returns its errors: raised, they would carry its frames to whoever waits for them.


def _finished(error: AstroTokenError, done: Callable[[], None]) -> _Done[Finding]:
    done()
    return _Done(Finding(None, error=error))


def _find(
    settings: TokenSettings,
    secrets: Mapping[SecretRef, Callable[[], SecretValue | AstroTokenError]],
    deadline: Deadline,
    done: Callable[[], None],
    api: AstroApi | None,
) -> Finding:
    ref = settings.ref
    try:
        whole = secrets[ref.without_field()]()
        value = prefixed_with(ref, lambda: select_and_decrypt(result(whole), ref, settings.decrypt, deadline))
        token, verdicts = judged(settings, value)
        seen = _consult(token, verdicts, settings, api, deadline)
    except AstroTokenError as error:
        return Finding(settings, error=bare(error))
    finally:
        done()
    if seen is not None:
        token, verdicts = seen.token, seen.verdicts
    errors = [named(seen.error, ref)] if seen and seen.error else []
    try:
        enforce(verdicts, ref)
    except AstroTokenError as error:
        errors.insert(0, bare(error))
    code = worst([error.exit_code for error in errors])
    gravest = next((error for error in errors if error.exit_code == code), None)
    return Finding(settings, token, verdicts, gravest, seen)


def _consult(
    token: AstroToken,
    verdicts: tuple[Verdict, ...],
    settings: TokenSettings,
    api: AstroApi | None,
    deadline: Deadline,
) -> Online | None:
    if api is None:
        return None
    from astro_token.tokens.online import consult

    return consult(token, verdicts, settings, api, deadline)


def _read_all(
    wanted: Sequence[TokenSettings], deadline: Deadline, pool: ThreadPoolExecutor | _Here
) -> dict[SecretRef, Callable[[], SecretValue | AstroTokenError]]:
    """For each secret a function that waits for it."""
    refs: dict[str, list[SecretRef]] = {}
    for ref in dict.fromkeys(settings.ref.without_field() for settings in wanted):
        refs.setdefault(ref.scheme, []).append(ref)
    return {
        ref: secret
        for scheme, of_scheme in refs.items()
        for ref, secret in _read_scheme(scheme, of_scheme, deadline, pool)
    }


def _read_scheme(
    scheme: str, refs: list[SecretRef], deadline: Deadline, pool: ThreadPoolExecutor | _Here
) -> Iterator[tuple[SecretRef, Callable[[], SecretValue | AstroTokenError]]]:
    try:
        backend = open_backend(scheme)
    except AstroTokenError as error:
        failure = bare(error)
        yield from ((ref, lambda: failure) for ref in refs)
        return
    if can(backend, "read_many") and len(refs) > 1:
        batch = pool.submit(_read_batch, backend, refs, deadline)
        for ref in refs:
            yield ref, partial(_of_batch, batch, ref)
        return
    for ref in refs:
        yield ref, pool.submit(_read_one, ref, backend, deadline).result


def _read_one(ref: SecretRef, backend: object, deadline: Deadline) -> SecretValue | AstroTokenError:
    try:
        return read_secret_value(ref, backend, deadline)
    except AstroTokenError as error:
        return bare(error)


def _read_batch(
    backend: SupportsReadMany, refs: list[SecretRef], deadline: Deadline
) -> dict[SecretRef, SecretValue | AstroTokenError]:
    """All by the service's batch call, and again those alone that it was too busy for."""
    found: dict[SecretRef, SecretValue | AstroTokenError] = {}
    pending = list(refs)

    def attempt(seconds: float) -> SecretValue | AstroTokenError | None:
        # One that is left behind, and ends later, must find what is asked for now as it was.
        asked, number = list(pending), len(answers)
        logger.debug("reading %d secrets of %s at once", len(asked), asked[0].scheme)
        answer = backend.read_many(asked, timeout=seconds)
        outcomes = {ref: _outcome(answer.get(ref)) for ref in asked}
        if number == len(answers):
            answers.append(outcomes)
            found.update(outcomes)
            pending[:] = [ref for ref in asked if isinstance(outcomes[ref], BackendUnavailableError)]
        return found[pending[0]] if pending else None  # one that is tried again

    answers: list[dict[SecretRef, SecretValue | AstroTokenError]] = []
    try:
        deadline.retry(attempt)
    except AstroTokenError as error:
        # What is still missing fails with what failed last.
        return dict(found) | dict.fromkeys(pending, bare(error))
    return dict(found)


def _of_batch(
    batch: Future[dict[SecretRef, SecretValue | AstroTokenError]]
    | _Done[dict[SecretRef, SecretValue | AstroTokenError]],
    ref: SecretRef,
) -> SecretValue | AstroTokenError:
    return batch.result()[ref]


def _outcome(answer: object) -> SecretValue | AstroTokenError:
    if isinstance(answer, AstroTokenError):
        return bare(answer)
    try:
        return secret_value(answer)
    except AstroTokenError as error:
        return bare(error)
