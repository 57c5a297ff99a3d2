"""The rate of one token's requests: Astro counts them per token, however many programs share it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING

from astro_token.errors import BackendUnavailableError

if TYPE_CHECKING:
    from astro_token.secret import SecretValue

__all__ = ["PER_SECOND", "Rate"]

PER_SECOND = {"GET": 10, "POST": 10, "DELETE": 5}  # GET: documented as 10 in one page, as 25 in a later one
_WINDOW = 1.1  # seconds: requests do not all need the same time to reach Astro, which counts them in a second
_MOST_TURNS = 100  # tokens, before those whose turns are over are forgotten


class Rate:
    """
    The turns of all tokens, each counted separately. Threads can share it.

    Args:
        per_second: requests of one token.
    """

    def __init__(self, per_second: int = PER_SECOND["GET"]) -> None:
        self._per_second = per_second
        self._key = os.urandom(16)  # of the digests, so that they differ between processes
        self._lock = threading.Lock()
        self._turns: dict[bytes, deque[float]] = {}
        self._not_before: dict[bytes, float] = {}

    def wait(self, bearer: SecretValue, seconds: float) -> None:
        """
        Wait for the token's turn.

        Raises:
            BackendUnavailableError: the turn comes later than in these seconds.
        """
        token, now = self._digest(bearer), time.monotonic()
        with self._lock:
            if len(self._turns) > _MOST_TURNS:
                recent = now - _WINDOW
                self._turns = {
                    key: turns for key, turns in self._turns.items() if turns and turns[-1] > recent
                }
            turns = self._turns.setdefault(token, deque(maxlen=self._per_second))
            turn = max(now, self._not_before.get(token, now))
            if len(turns) == self._per_second:
                turn = max(turn, turns[0] + _WINDOW)
            if turn - now <= seconds:
                turns.append(turn)
        if turn - now > seconds:
            raise BackendUnavailableError(
                "Astro's API requests a longer wait than the time that is left",
                hint="try again later",
                retry_after=turn - now,
            )
        time.sleep(turn - now)

    def postpone(self, bearer: SecretValue, seconds: float) -> None:
        """Send no request with the token for these seconds."""
        token, turn = self._digest(bearer), time.monotonic() + seconds
        with self._lock:
            self._not_before[token] = max(turn, self._not_before.get(token, turn))

    def _digest(self, bearer: SecretValue) -> bytes:
        return blake2b(bearer.reveal(), digest_size=16, key=self._key).digest()
