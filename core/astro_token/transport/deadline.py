"""
One deadline for a whole call, and the one layer of retries.

A backend is called in a thread of its own: per-read timeouts of SDKs are no deadlines
(a server that sends a byte now and then holds them for ever),
and the interval timer that could interrupt them belongs to the program that uses us as a library.
A thread that does not come back in time is left behind, and ends with the process.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from astro_token.errors import AstroTokenError, BackendError, BackendUnavailableError, bare, result

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ATTEMPTS", "ATTEMPT_SECONDS", "DEFAULT_SECONDS", "Deadline"]

_T = TypeVar("_T")

DEFAULT_SECONDS = 30.0
ATTEMPT_SECONDS = 10.0
ATTEMPTS = 6
_GRACE = 0.2  # for a backend that keeps to its timeout to say so itself


class Deadline:
    """
    Args:
        seconds: for everything that is called through this object together.
        attempt: for one attempt of it.
    """

    def __init__(self, seconds: float = DEFAULT_SECONDS, *, attempt: float = ATTEMPT_SECONDS) -> None:
        self.seconds = seconds
        self.attempt = attempt
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def once(self, call: Callable[[float], _T]) -> _T:
        """
        Calls with the seconds that are left for one attempt, once.

        Raises:
            AstroTokenError: as the call did, without its traceback and causes, which may hold a secret;
                `BackendError` with the type's name for any other exception;
                `BackendUnavailableError` where it does not come back in time.
        """
        return result(_attempt(call, self))

    def retry(self, call: Callable[[float], _T]) -> _T:
        """As `once`, and again after a `BackendUnavailableError`, while attempts and time are left."""
        outcome = _attempt(call, self)
        if isinstance(outcome, BackendUnavailableError):
            outcome = _again(call, self, outcome)
        return result(outcome)


def _attempt(call: Callable[[float], _T], deadline: Deadline) -> _T | AstroTokenError:
    seconds = min(deadline.attempt, deadline.remaining)
    if seconds <= 0:
        return BackendUnavailableError(
            f"no answer within {deadline.seconds:g} s", hint="try again later, or raise ASTRO_TOKEN_TIMEOUT"
        )
    outcome: list[_T | AstroTokenError] = []
    thread = threading.Thread(target=lambda: outcome.append(_caught(call, seconds)), daemon=True)
    thread.start()
    thread.join(seconds + _GRACE)
    if outcome:
        return outcome[0]
    return BackendUnavailableError(
        f"no answer within {seconds:.3g} s", hint="try again later, or raise ASTRO_TOKEN_TIMEOUT"
    )


def _caught(call: Callable[[float], _T], seconds: float) -> _T | AstroTokenError:
    try:
        return call(seconds)
    except AstroTokenError as error:
        return bare(error)
    except BaseException as error:  # noqa: BLE001 (an SDK raises what it likes, and its text may hold the value)
        return BackendError(
            f"the backend failed with {type(error).__name__}",
            hint="if it happens again, report it with the versions of astro-token and of the SDK",
        )


def _again(
    call: Callable[[float], _T], deadline: Deadline, first: BackendUnavailableError
) -> _T | AstroTokenError:
    import tenacity

    from astro_token.log import logger

    jitter = tenacity.wait_random_exponential(multiplier=0.25, max=5)
    made: list[_T | AstroTokenError] = [first]  # the first attempt was made before tenacity was loaded
    last = made[0]

    def attempt() -> _T | AstroTokenError:
        nonlocal last
        last = made.pop() if made else _attempt(call, deadline)
        return last

    def pause(state: tenacity.RetryCallState) -> float:
        asked = last.retry_after if isinstance(last, BackendUnavailableError) else None
        # A service may ask for what is no time to wait, such as a date that has passed.
        return float(jitter(state)) if asked is None or math.isnan(asked) else max(0.0, asked)

    def note(state: tenacity.RetryCallState) -> None:
        logger.debug(
            "attempt %d was in vain, trying again in %.2f s", state.attempt_number, state.upcoming_sleep
        )

    return tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda outcome: isinstance(outcome, BackendUnavailableError)),
        wait=pause,
        # A pause that would end after the deadline is not begun.
        stop=lambda state: state.attempt_number >= ATTEMPTS or state.upcoming_sleep >= deadline.remaining,
        before_sleep=note,
        retry_error_callback=lambda _: last,
    )(attempt)
