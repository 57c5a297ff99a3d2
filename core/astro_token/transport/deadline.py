"""
One deadline for a whole call, and the one layer of retries.

A backend is called in a thread of its own. The timeouts of SDKs apply to each read, and are no deadlines:
a server that sends a byte now and then keeps the call running for ever.
An interval timer could interrupt the call, but it belongs to the program that uses us as a library.
A thread that does not return in time is abandoned, and ends with the process.
A call needs no new thread if it already runs in one of these threads, or if it is local and cannot hang.
"""

from __future__ import annotations

import _thread
import os
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from astro_token.errors import (
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    result,
    sanitized,
    with_prefix,
)
from astro_token.system.os_errors import exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

__all__ = [
    "ATTEMPT_SECONDS",
    "DEFAULT_SECONDS",
    "Deadline",
    "Pending",
    "Workers",
    "clock",
    "extend_attempt",
    "paused_deadline",
    "with_deadline",
]

_A = TypeVar("_A")
_T = TypeVar("_T")

DEFAULT_SECONDS = 30.0
ATTEMPT_SECONDS = 10.0
_LONGEST_PAUSE = 5.0
_LAST_ATTEMPT = 0.2  # seconds before the deadline; no attempt begins later
_GRACE = 0.2  # a backend that keeps to its timeout needs this time to report it
_bounded: dict[int, Pending[Any]] = {}  # by the identifiers of our threads
if hasattr(os, "register_at_fork"):  # a forked child gives the identifiers to threads of its own
    os.register_at_fork(after_in_child=lambda: _keep_bounds_of(_thread.get_ident()))


def _keep_bounds_of(thread: int) -> None:
    for identifier in set(_bounded) - {thread}:
        _bounded.pop(identifier)


def extend_attempt() -> float:
    """
    Let the attempt in this thread last until the deadline of the whole call: a program may need that long.

    Returns:
        The seconds until then; 0 in a thread that has no deadline of ours.
    """
    pending = _bounded.get(_thread.get_ident())
    return pending.extend() if pending else 0.0


@contextmanager
def paused_deadline() -> Iterator[None]:
    """Stop the clock of the whole call to which the attempt in this thread belongs, while a person types."""
    pending = _bounded.get(_thread.get_ident())
    with pending.deadline.paused() if pending else nullcontext():
        yield


def clock() -> float:
    """The monotonic clock without the time for which the deadline of the call in this thread was paused."""
    pending = _bounded.get(_thread.get_ident())
    return pending.deadline.now() if pending else time.monotonic()


def with_deadline(call: Callable[[_A], _T]) -> Callable[[_A], _T]:
    """Let a function belong to the attempt in this thread also when other threads call it."""
    pending = _bounded.get(_thread.get_ident())
    if pending is None:
        return call

    def belonging(argument: _A) -> _T:
        with _belonging_to(pending):
            return call(argument)

    return belonging


@contextmanager
def _belonging_to(pending: Pending[Any]) -> Iterator[None]:
    thread = _thread.get_ident()
    outer = _bounded.get(thread)
    _bounded[thread] = pending
    try:
        yield
    finally:
        _bounded.pop(thread, None)
        if outer is not None:
            _bounded[thread] = outer


class Deadline:
    """
    Args:
        seconds: for everything that is called through this object.
        attempt: for one attempt.
        attempts: the largest number of attempts; None for no limit but the time.
        longest_pause: between two attempts.
    """

    __slots__ = (
        "_end",
        "_exhausted",
        "_paused_at",
        "_paused_for",
        "_reached",
        "attempt",
        "attempts",
        "longest_pause",
        "seconds",
    )

    def __init__(
        self,
        seconds: float = DEFAULT_SECONDS,
        *,
        attempt: float = ATTEMPT_SECONDS,
        attempts: int | None = None,
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self.seconds = seconds
        self.attempt = attempt
        self.attempts = attempts
        self.longest_pause = longest_pause
        self._paused_at: float | None = None
        self._paused_for = 0.0
        self._end = time.monotonic() + seconds
        self._exhausted: dict[Hashable, BackendUnavailableError] = {}
        self._reached: list[Callable[[], Hashable]] = []

    def now(self) -> float:
        """The monotonic clock without the time for which it was paused."""
        paused_at = self._paused_at  # read once: another thread may end the pause meanwhile
        return (time.monotonic() if paused_at is None else paused_at) - self._paused_for

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._paused_at = began = time.monotonic()
        try:
            yield
        finally:
            self._paused_for += time.monotonic() - began
            self._paused_at = None

    @property
    def remaining(self) -> float:
        return max(0.0, self._end - self.now())

    def late(self, seconds: float | None = None) -> BackendUnavailableError:
        """
        The error of a call that has not returned in time.

        Args:
            seconds: of the attempt; None for those of the whole call.
        """
        hint = "try again later, or raise ASTRO_TOKEN_TIMEOUT"
        if seconds is not None and seconds >= self.attempt:  # a later deadline does not make it longer
            hint = "check the service and the network; try again later"
        return BackendUnavailableError(
            f"no answer within {self.seconds if seconds is None else seconds:.3g} s", hint=hint
        )

    def once(self, call: Callable[[float], _T], *, local: bool = False, apart: bool = False) -> _T:
        """
        Call once with the seconds that are left for one attempt.

        Args:
            local: the call cannot hang, and runs in the current thread.
                An exception that is not an `Exception`, such as the end by a signal, is raised unchanged.
            apart: use a new thread even in one of these threads: the caller names what was late.

        Raises:
            AstroTokenError: as the call did, without its traceback and causes, which may hold a secret;
                `BackendError` with the type's name for any other exception;
                `BackendUnavailableError` if it does not return in time.
        """
        return result(_attempt(call, self, local=local, apart=apart))

    def retry(
        self, call: Callable[[float], _T], *, local: bool = False, host: Callable[[], Hashable] | None = None
    ) -> _T:
        """
        Call as `once` does, and repeat it after a `BackendUnavailableError` until the deadline.

        Args:
            host: returns the name of the call's host; used after a failure only.
                If one call has used up its retries, and no call to this host has succeeded,
                all other calls to this host fail at once.
        """
        if self._exhausted and (failure := self._exhaustion(host)):
            raise failure
        outcome = _attempt(call, self, local=local)
        if isinstance(outcome, BackendUnavailableError):
            if self.attempts != 1:
                outcome = self._again(call, outcome, local=local, host=host)
            if isinstance(outcome, BackendUnavailableError) and host is not None:
                name = host()
                if all(reached() != name for reached in self._reached):
                    self._exhausted.setdefault(name, outcome)
        elif host is not None and not isinstance(outcome, AstroTokenError):
            self._reached.append(host)
        return result(outcome)

    def _exhaustion(self, host: Callable[[], Hashable] | None) -> AstroTokenError | None:
        failure = self._exhausted.get(host()) if host else None
        return with_prefix(failure, "") if failure else None  # a copy, because every raiser changes its own

    def _again(
        self,
        call: Callable[[float], _T],
        first: BackendUnavailableError,
        *,
        local: bool,
        host: Callable[[], Hashable] | None,
    ) -> _T | AstroTokenError:
        import math

        import tenacity

        from astro_token.log import logger

        jitter = tenacity.wait_random_exponential(
            multiplier=min(0.25, self.longest_pause), max=self.longest_pause
        )
        made: list[_T | AstroTokenError] = [first]  # the first attempt was made before tenacity was loaded
        last = made[0]

        def attempt() -> _T | AstroTokenError:
            nonlocal last
            if made:
                last = made.pop()
            else:
                failure = self._exhaustion(host) if self._exhausted else None
                outcome = _attempt(call, self, local=local) if failure is None else failure
                # The error of an attempt that the deadline ended hides the cause, which the one before names.
                if self.remaining or not isinstance(outcome, BackendUnavailableError):
                    last = outcome
            return last

        def pause(state: tenacity.RetryCallState) -> float:
            left = self.remaining - _LAST_ATTEMPT
            if left <= 0:
                return math.inf
            requested = last.retry_after if isinstance(last, BackendUnavailableError) else None
            seconds = min(float(jitter(state)), left)
            # A service may request nonsense, such as a date that has passed, or no pause again and again.
            return seconds if requested is None or math.isnan(requested) else max(seconds, requested)

        def is_over(state: tenacity.RetryCallState) -> bool:
            if self.attempts and state.attempt_number >= self.attempts:
                return True
            if self._exhausted and self._exhaustion(host):
                return True
            return state.upcoming_sleep >= self.remaining  # a pause that ends after the deadline is not begun

        def note(state: tenacity.RetryCallState) -> None:
            logger.debug(
                "attempt %d failed, trying again in %.2f s", state.attempt_number, state.upcoming_sleep
            )

        pending = _bounded.get(_thread.get_ident())
        return tenacity.Retrying(
            sleep=pending.sleep if pending else time.sleep,
            retry=tenacity.retry_if_result(lambda outcome: isinstance(outcome, BackendUnavailableError)),
            wait=pause,
            stop=is_over,
            before_sleep=note,
            retry_error_callback=lambda _: last,
        )(attempt)


def _attempt(
    call: Callable[[float], _T], deadline: Deadline, *, local: bool, apart: bool = False
) -> _T | AstroTokenError:
    seconds = min(deadline.attempt, deadline.remaining)
    if seconds <= 0:
        return deadline.late()
    if local or (_thread.get_ident() in _bounded and not apart):
        return _outcome_of(lambda: call(seconds), local=local)
    pending: Pending[_T] = Pending(lambda: call(seconds), deadline)
    try:
        _thread.start_new_thread(pending.run, ())
    except RuntimeError:  # no thread can be started: call without a time limit
        pending.run()
    return pending.outcome(seconds)


def _outcome_of(call: Callable[[], _T], *, local: bool = False) -> _T | AstroTokenError:
    try:
        return call()
    except AstroTokenError as error:
        return sanitized(error)
    except BaseException as error:  # an SDK raises anything, and its text may hold the value
        if local and not isinstance(error, Exception):
            raise
        return exhausted(error) or BackendError(
            f"the backend failed with {type(error).__name__}",
            hint="if it happens again, report it with the versions of astro-token and of the SDK",
        )


class Pending(Generic[_T]):
    """The outcome of a call that runs in another thread."""

    __slots__ = ("_call", "_done", "_is_extended", "_outcome", "_workers", "deadline")

    def __init__(
        self, call: Callable[[], _T | AstroTokenError], deadline: Deadline, workers: Workers | None = None
    ) -> None:
        self._call = call
        self.deadline = deadline
        self._workers = workers
        self._is_extended = False
        self._outcome: list[_T | AstroTokenError] = []
        self._done = _thread.allocate_lock()
        self._done.acquire()

    def run(self) -> None:
        try:
            with _belonging_to(self):
                self._outcome.append(_outcome_of(self._call))
        finally:
            self._done.release()

    def extend(self) -> float:
        self._is_extended = True
        return self.deadline.remaining

    def sleep(self, seconds: float) -> None:
        (self._workers.sleep if self._workers else time.sleep)(seconds)

    def outcome(self, seconds: float | None = None) -> _T | AstroTokenError:
        """The outcome; `BackendUnavailableError` if there is none after these seconds, or at the deadline."""
        deadline = self.deadline
        left = deadline.remaining if seconds is None else seconds
        end = deadline.now() + left
        while not self._done.acquire(timeout=left + _GRACE):
            if self._is_extended:
                seconds, end = None, deadline.now() + deadline.remaining
            left = end - deadline.now()
            if left <= 0:
                return deadline.late(seconds)
        self._done.release()  # for other threads that wait
        return self._outcome[0]


class Workers:
    """
    Threads that run calls side by side until the deadline, and do not keep the process alive.

    Attempts within such a call run in its thread: `Pending.outcome` is the bound.
    While a call pauses before its next attempt, another one may run.
    """

    def __init__(self, deadline: Deadline, count: int = 16) -> None:
        self._deadline = deadline
        self._count = count
        self._running = 0
        self._lock = _thread.allocate_lock()
        self._jobs: deque[Pending[Any]] = deque()

    def submit(self, call: Callable[[], _T]) -> Pending[_T]:
        pending: Pending[_T] = Pending(call, self._deadline, self)
        with self._lock:
            self._jobs.append(pending)
        if not self._start():
            with self._lock:
                self._running += 1
            self._work()
        return pending

    def sleep(self, seconds: float) -> None:
        """Sleep in the thread of a call, and let another call run meanwhile."""
        with self._lock:
            self._running -= 1
        self._start()
        time.sleep(seconds)
        with self._lock:
            self._running += 1

    def cancel(self) -> None:
        """Drop the calls that have not started. Calls that run are not waited for."""
        with self._lock:
            self._jobs.clear()

    def _start(self) -> bool:
        """Start a thread if a call waits for one. False if none can be started and no other runs."""
        with self._lock:
            if not self._jobs or self._running >= self._count:
                return True
            self._running += 1
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:
            with self._lock:
                self._running -= 1
                return self._running > 0
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._running -= 1
                    return
                job = self._jobs.popleft()
            job.run()
