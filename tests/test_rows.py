"""`each_row` fails for what `pytest.mark.parametrize` would fail for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.rows import each_row

if TYPE_CHECKING:
    from pathlib import Path


def test_all_wrong_rows_are_shown_and_right_ones_are_not() -> None:
    @each_row("left, right", [(1, 1), (2, 3), (4, 4), (5, 6)])
    def equal(left: int, right: int) -> None:
        assert left == right

    with pytest.raises(AssertionError, match="2 of 4 rows are wrong") as caught:
        equal()
    shown = str(caught.value).splitlines()
    assert ["{'left': 2, 'right': 3}", "{'left': 5, 'right': 6}"] == [
        line.partition(": AssertionError")[0] for line in shown if ": AssertionError" in line
    ]


def test_what_a_row_expects_and_does_not_get_is_wrong() -> None:
    @each_row("text", ["1", "x"])
    def refused(text: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(text)

    with pytest.raises(AssertionError, match="1 of 2 rows are wrong"):
        refused()


def test_a_row_that_is_skipped_is_wrong() -> None:
    @each_row("number", [1, 2])
    def skipped(number: int) -> None:
        pytest.skip()

    with pytest.raises(AssertionError, match="2 of 2 rows are wrong"):
        skipped()


def test_tables_may_be_crossed() -> None:
    seen = []

    @each_row("one", "ab")
    @each_row("other", [1, 2], ids=str)
    def note(one: str, other: int) -> None:
        seen.append((one, other))

    note()
    assert [("a", 1), ("a", 2), ("b", 1), ("b", 2)] == seen


def test_a_row_leaves_nothing_to_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @each_row("number", range(3))
    def leave(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ("ROW" in os.environ, [*tmp_path.iterdir()]) == (False, [])
        monkeypatch.setenv("ROW", str(number))
        (tmp_path / "file").touch()

    leave(tmp_path=tmp_path, monkeypatch=monkeypatch)
    assert "ROW" not in os.environ


class TestMethods:
    @each_row("number", [1, 2])
    def test_a_method_has_rows_too(self, number: int, tmp_path: Path) -> None:
        assert isinstance(self, TestMethods)
        assert tmp_path.name == f"row{number - 1}"
