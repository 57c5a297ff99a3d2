"""Words that several messages share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from astro_token.wording import closest, did_you_mean, from_now, iso, span, when
from tests.rows import each_row

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@each_row(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (86400, "1 day"),
        (86401, "24 hours"),
        (2 * 86400 - 1, "47 hours"),
        (2 * 86400 + 5, "2 days"),
        (90 * 86400, "90 days"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_unit(seconds: int, text: str) -> None:
    assert text == span(timedelta(seconds=seconds))


@each_row(
    ("hours", "text"),
    [
        (0, "now"),
        (-3, "3 hours ago"),
        (30, "in 30 hours"),
        (36, "in 36 hours"),
        (47, "in 47 hours"),
        (48, "in 2 days"),
    ],
)
def test_a_moment_is_told_relative_to_now(hours: int, text: str) -> None:
    assert text == from_now(NOW + timedelta(hours=hours), NOW)
    assert when(NOW + timedelta(hours=hours), NOW).endswith(f" UTC, {text}")


def test_a_moment_for_programs_is_in_utc() -> None:
    assert ("2026-11-23T12:00:00Z", None) == (iso(NOW), iso(None))


def test_the_closest_choice_is_suggested_and_nothing_unlike() -> None:
    assert ("prod", "did you mean prod? ") == (
        closest("prodd", ["dev", "prod"]),
        did_you_mean("prodd", ["dev", "prod"]),
    )
    assert (None, "") == (closest("xyz", ["dev"]), did_you_mean("xyz", ["dev"]))
    assert closest("prodd", ["prod"], alike=0.95) is None
