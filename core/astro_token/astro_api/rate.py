"""The rate of one token's requests: Astro counts them per token, however many programs share it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from hashlib import blake2b
from math import inf
from typing import TYPE_CHECKING

from astro_token.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token.secret import SecretValue

__all__ = ["PER_SECOND", "Rate"]

PER_SECOND = {"GET": 10, "POST": 10, "DELETE": 5}  # GET: documented as 10 in one page, as 25 in a later one
_WINDOW = 1.01  # seconds: Astro counts by another clock
_MOST_TOKENS = 100  # before those without recent requests are forgotten


class _Turns:
    """
    The turns of one token. Each is free again a second after the response: only then it is certain
    that the request had reached Astro a second before the next one.

    Attributes:
        ends: of the requests whose turns nobody has taken since, the earliest first.
        not_before: the time of the next request.
    """

    def __init__(self, count: int) -> None:
        self.ends = deque([-inf] * count, maxlen=count)
        self.not_before = -inf

    def is_over(self, now: float) -> bool:
        return len(self.ends) == self.ends.maxlen and max(self.ends[-1] + _WINDOW, self.not_before) <= now


class Rate:
    """
    The turns of all tokens, each counted separately. Threads can share it.

    Args:
        per_second: requests of one token.
    """

    def __init__(self, per_second: int = PER_SECOND["GET"]) -> None:
        self._per_second = per_second
        self._key = os.urandom(16)  # of the digests, so that they differ between processes
        self._changed = threading.Condition()
        self._tokens: dict[bytes, _Turns] = {}

    @contextmanager
    def turn(self, bearer: SecretValue, seconds: float) -> Iterator[None]:
        """
        Wait for the token's turn. It lasts until the end of the context, which is that of the response.

        Raises:
            BackendUnavailableError: the turn comes later than in these seconds.
        """
        until = time.monotonic() + seconds
        with self._changed:
            turns = self._turns(bearer)
            while not turns.ends and self._changed.wait(until - time.monotonic()):
                pass  # all requests that the rate allows are on their way
            now = time.monotonic()
            turn = max(now, turns.not_before, turns.ends[0] + _WINDOW if turns.ends else until)
            is_late = turn > until or not turns.ends
            if not is_late:
                turns.ends.popleft()
        if is_late:
            raise BackendUnavailableError(
                "Astro's API requests a longer wait than the time that is left",
                hint="try again later",
                retry_after=turn - now,
            )
        try:
            time.sleep(turn - now)
            yield
        finally:
            with self._changed:
                turns.ends.append(time.monotonic())
                self._changed.notify_all()

    def postpone(self, bearer: SecretValue, seconds: float) -> None:
        """Send no request with the token for these seconds."""
        with self._changed:
            turns = self._turns(bearer)
            turns.not_before = max(time.monotonic() + seconds, turns.not_before)

    def _turns(self, bearer: SecretValue) -> _Turns:
        if len(self._tokens) > _MOST_TOKENS:
            now = time.monotonic()
            self._tokens = {key: turns for key, turns in self._tokens.items() if not turns.is_over(now)}
        key = blake2b(bearer.reveal(), digest_size=16, key=self._key).digest()
        return self._tokens.setdefault(key, _Turns(self._per_second))
