"""Times, for programs and for people."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from astro_token.policy.rules import length, moment

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["from_now", "iso", "when"]


def iso(time: datetime | None) -> str | None:
    """To the second, in UTC."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None


def from_now(time: datetime, now: datetime) -> str:
    """How long from now, as in `in 12 days`, `3 hours ago`."""
    away = abs(time - now)
    if away < timedelta(seconds=1):
        return "now"
    return f"in {length(away)}" if time > now else f"{length(away)} ago"


def when(time: datetime, now: datetime) -> str:
    return f"{moment(time)}, {from_now(time, now)}"
