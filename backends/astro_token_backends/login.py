"""One login per process, for all backends of a service: made by one thread, dropped in a forked child."""

from __future__ import annotations

import os
from _thread import allocate_lock
from contextlib import contextmanager

from astro_token.errors import BackendUnavailableError
from astro_token.transport.deadline import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, TypeVar

    class _Forgets(Protocol):
        def forget(self) -> None: ...

    _T = TypeVar("_T", bound=_Forgets)

__all__ = ["LoginLock", "one_per_process"]

_SHORTEST = 0.01  # seconds


def one_per_process(create: Callable[[], _T]) -> Callable[[], _T]:
    """
    Return a function that creates an object at its first call and returns the same one from then on.

    A forked child calls the object's `forget`: logins and connections belong to the parent.
    """
    made: list[_T] = []
    lock = allocate_lock()

    def shared() -> _T:
        with lock:
            if not made:
                made.append(create())
        return made[0]

    def forget() -> None:
        nonlocal lock
        lock = allocate_lock()  # a thread that the child does not have may hold the other one
        for item in made:
            item.forget()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    return shared


class LoginLock:
    """Lock around a login. Nobody waits for it longer than the deadline allows."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.forget()

    def forget(self) -> None:
        """Replace the lock: a thread that never ends, or that a forked child lacks, may hold it."""
        self._lock = allocate_lock()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """
        Hold the lock.

        Raises:
            BackendUnavailableError: another thread held it for that long.
        """
        lock = self._lock
        end = clock() + seconds
        while not lock.acquire(timeout=max(_SHORTEST, end - clock())):
            if clock() < end:  # a person was typing for the login, which did not count
                continue
            if self._lock is lock:
                self.forget()  # its thread was abandoned at a deadline and may never end
            raise BackendUnavailableError(
                f"an earlier login to {self._service} has not ended", hint="try again later"
            )
        try:
            yield
        finally:
            lock.release()
