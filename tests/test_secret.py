"""A secret that cannot print itself."""

from __future__ import annotations

import copy
import json
import pickle
import string
import traceback
from typing import TYPE_CHECKING

import pytest

from astro_token.secret import SecretMetadata, SecretValue
from astro_token.testing import appearances
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS: dict[str, Callable[[SecretValue], object]] = {
    "str": str,
    "repr": repr,
    "f-string": lambda value: f"{value}",
    "f-string with a width": lambda value: f"{value:>80}",
    "f-string with !r": lambda value: f"{value!r}",
    "f-string with !a": lambda value: f"{value!a}",
    "percent s": lambda value: "%s" % value,  # noqa: UP031
    "percent r": lambda value: "%r" % (value,),  # noqa: UP031
    "format": lambda value: "{}".format(value),  # noqa: UP032
    "a template": lambda value: string.Template("$x").substitute(x=value),
    "in a list": lambda value: str([value]),
    "in a dictionary": lambda value: str({"a": value}),
    "in an exception": lambda value: "".join(traceback.format_exception(ValueError(value))),
    "json with a default": lambda value: json.dumps(value, default=str),
    "dir": lambda value: str(dir(value)),
}
COPIES: dict[str, Callable[[SecretValue], object]] = {
    **{f"pickle {n}": lambda value, n=n: pickle.dumps(value, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},  # type: ignore[misc]
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy in a list": lambda value: copy.deepcopy([value]),
    "json": json.dumps,
    "hash": hash,
    "vars": vars,
    "bytes": lambda value: bytes(value),  # type: ignore[call-overload]
    "iteration": lambda value: list(value),  # type: ignore[call-overload]
    "length": lambda value: len(value),  # type: ignore[arg-type]
    "addition": lambda value: value + b"",  # type: ignore[operator]
}


@each_row("way", TEXTS)
def test_no_text_form_shows_it(way: str, canary: str) -> None:
    assert [] == appearances(canary, str(TEXTS[way](SecretValue(canary.encode()))))


def test_the_same_look_at_the_bytes_would_find_it(canary: str) -> None:
    found = [way for way in TEXTS if appearances(canary, str(TEXTS[way](canary)))]  # type: ignore[arg-type]
    assert [way for way in TEXTS if way != "dir"] == found


@each_row("way", COPIES)
def test_no_copy_of_it_can_be_made(way: str, canary: str) -> None:
    with pytest.raises(TypeError):
        COPIES[way](SecretValue(canary.encode()))


def test_only_reveal_gives_it_out(canary: str) -> None:
    value = SecretValue(canary.encode(), "7")
    assert canary.encode() == value.reveal()
    assert "7" == value.version


def test_values_are_equal_by_their_bytes_alone() -> None:
    assert SecretValue(b"a", "1") == SecretValue(b"a", "2")
    assert SecretValue(b"a") != SecretValue(b"b")
    assert SecretValue(b"a") != SecretValue(b"aa")
    assert SecretValue(b"a") != b"a"


def test_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((one, two))
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert SecretValue(b"a") != SecretValue(b"b")
    assert [(b"a", b"b")] == compared


def test_it_holds_bytes_only() -> None:
    for wrong in ("text", bytearray(b"x"), memoryview(b"x"), None, 1):
        with pytest.raises(TypeError, match="holds bytes"):
            SecretValue(wrong)  # type: ignore[arg-type]


def test_nothing_can_be_hung_on_it_nor_replaced() -> None:
    value = SecretValue(b"a", "1")
    with pytest.raises(AttributeError):
        value.note = "x"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        value.version = "2"  # type: ignore[misc]


def test_metadata_tells_nothing_where_nothing_is_told() -> None:
    assert SecretMetadata() == SecretMetadata(None, None, None, None, None, None)
