"""Immutable records."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar

import pytest

from astro_token.record import Record, replace


class Point(Record):
    x: int
    y: int = 0
    unit: ClassVar[str] = "m"


class Named(Point):
    _hidden = ("secret",)
    name: str = "a"
    secret: bytes = b""


def test_fields_come_by_position_or_by_name_with_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(x=1, y=2).y, Point(1, 2).y) == (1, 0, 2, 2)
    assert Named(1, name="b").name == "b"


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 2}), ((1,), {"x": 2})])
def test_missing_unknown_and_repeated_fields_are_refused(
    values: tuple[int, ...], named: dict[str, int]
) -> None:
    with pytest.raises(TypeError, match="Point takes the fields x, y"):
        Point(*values, **named)


def test_records_are_equal_by_class_and_fields() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert Point(1) != Named(1)
    assert {Point(1), Point(1), Point(2)} == {Point(1), Point(2)}


def test_records_are_immutable() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del point.x
    assert point.x == 1


def test_replace_copies_with_changes() -> None:
    point = Named(1, name="b")
    assert replace(point, x=5) == Named(5, name="b")
    assert point == Named(1, name="b")
    with pytest.raises(TypeError):
        replace(point, z=1)


def test_representation_leaves_hidden_fields_out() -> None:
    assert repr(Named(1, secret=b"value")) == "Named(x=1, y=0, name='a')"


def test_records_copy_and_pickle() -> None:
    point = Named(1, 2, "c")
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point  # noqa: S301
