"""Words for people that several messages share: spans of time, moments, suggestions."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would be imported for it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

__all__ = ["closest", "did_you_mean", "from_now", "iso", "moment", "span", "when", "within"]

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def span(time: timedelta) -> str:
    """Describe a span of time in whole units: the largest with at least two, or with exactly one."""
    seconds = int(time.total_seconds())
    for unit, size in _UNITS:
        count, rest = divmod(seconds, size)
        if count > 1 or (count == 1 and not rest):
            return f"{count} {unit}{'s' * (count > 1)}"
    return f"{seconds} second{'s' * (seconds != 1)}"


def moment(time: datetime) -> str:
    """Describe a moment in UTC, to the minute."""
    from datetime import UTC

    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso(time: datetime | None) -> str | None:
    """Render a moment for programs: ISO 8601 in UTC, to the second."""
    from datetime import UTC

    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None


def from_now(time: datetime, now: datetime) -> str:
    """Describe a moment relative to now, as in `in 12 days` or `3 hours ago`."""
    away = abs(time - now)
    if away.total_seconds() < 1:
        return "now"
    return f"in {span(away)}" if time > now else f"{span(away)} ago"


def when(time: datetime, now: datetime) -> str:
    """Describe a moment both in UTC and relative to now."""
    return f"{moment(time)}, {from_now(time, now)}"


def closest(text: str, choices: Iterable[str], *, alike: float = 0.6) -> str | None:
    """Find the choice that is most like a mistyped text; None if no choice is like it."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(text, list(choices), n=1, cutoff=alike)), None)


def within(letters: int, text: str, choices: Iterable[str]) -> str | None:
    """Find the closest choice that differs in at most so many letters; None if each differs in more."""
    distances = [
        (_distance(text, choice), choice) for choice in choices if abs(len(text) - len(choice)) <= letters
    ]
    nearest, choice = min(distances, default=(letters + 1, ""))
    return choice if nearest <= letters else None


def _distance(first: str, second: str) -> int:
    """Count the letters to insert, remove or replace that turn one text into another."""
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        above, row = row, [number]
        for column, other in enumerate(second):
            row.append(min(above[column + 1] + 1, row[column] + 1, above[column] + (letter != other)))
    return row[-1]


def did_you_mean(text: str, choices: Iterable[str]) -> str:
    """Begin a hint with the closest choice; empty if no choice is close."""
    choice = closest(text, choices)
    return f"did you mean {choice}? " if choice else ""
