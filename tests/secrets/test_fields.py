"""The one rule that chooses a field of a secret, and puts one back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.errors import (
    AstroTokenError,
    InvalidTokenError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from astro_token.secret import SecretValue
from astro_token.secrets.fields import merge_field, same_secret, select_field
from astro_token.testing import appearances, reachable_text
from tests.rows import each_row


def secret(content: object) -> SecretValue:
    return SecretValue(content if isinstance(content, bytes) else json.dumps(content).encode(), "7")


@each_row(
    ("content", "field", "chosen"),
    [
        (b"plain", None, b"plain"),
        (b" plain\n", None, b" plain\n"),
        (b"", None, b""),
        ({"token": "t", "other": "o"}, None, b"t"),
        ({"token": "t", "other": "o"}, "other", b"o"),
        ({"token": "t", "other": "o"}, "token", b"t"),
        ({"only": "o"}, None, b"o"),
        ({"": "o"}, None, b"o"),
        ({"a.b/c": "o", "x": "y"}, "a.b/c", b"o"),
        ({"only": "naïve ✓"}, None, "naïve ✓".encode()),
        (b'\xef\xbb\xbf{"only": "o"}', None, b"o"),
        (b' \n{"only": "o"}\n', None, b"o"),
        (b'["token"]', None, b'["token"]'),
        (b'"token"', None, b'"token"'),
        (b'{"token": "t"', None, b'{"token": "t"'),
        (b"{" * 5000, None, b"{" * 5000),
        (b'{"a":' * 5000, None, b'{"a":' * 5000),
        (b'{"token": "\xff"}', None, b'{"token": "\xff"}'),
    ],
)
def test_a_field_is_chosen(content: object, field: str | None, chosen: bytes) -> None:
    value = select_field(secret(content), field)
    assert chosen == value.reveal()
    assert "7" == value.version


@each_row(
    ("content", "field", "error", "complaint"),
    [
        ({"a": "1", "b": "2"}, None, SecretNotFoundError, "the secret has 2 fields, and"),
        ({}, None, SecretNotFoundError, "the secret has no fields, and"),
        ({"token": "t"}, "tokne", SecretNotFoundError, "the secret has no field tokne"),
        ({"token": "t"}, "Token", SecretNotFoundError, "the secret has no field Token"),
        ({}, "token", SecretNotFoundError, "the secret has no field token"),
        (b"plain", "token", SecretNotFoundError, "not a JSON object"),
        (b'["token"]', "token", SecretNotFoundError, "not a JSON object"),
        (b'{"token": "t"', "token", SecretNotFoundError, "not a JSON object"),
        ({"token": 1}, None, InvalidTokenError, "is not text"),
        ({"token": None}, None, InvalidTokenError, "is not text"),
        ({"token": ["t"]}, "token", InvalidTokenError, "is not text"),
        ({"token": {"token": "t"}}, None, InvalidTokenError, "is not text"),
    ],
)
def test_a_field_that_cannot_be_chosen_is_told(
    content: object, field: str | None, error: type[AstroTokenError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        select_field(secret(content), field)


def failure(value: SecretValue, field: str | None) -> AstroTokenError:
    try:
        select_field(value, field)
    except AstroTokenError as error:
        return error
    raise AssertionError("it was chosen")


@each_row(
    ("content", "field", "suggested"),
    [
        ({"token": "t"}, "tokne", "token"),
        ({"token": "t"}, "TOKEN", "token"),
        ({"KEY": "t"}, "key", "KEY"),
        ({"ASTRO_API_TOKEN": "t", "b": "2"}, None, "ASTRO_API_TOKEN"),
        ({"value": "t", "b": "2"}, "token", "value"),
        ({"tokens": "t"}, "tokn", None),  # the name of a field may be a secret
        ({"a": "1", "b": "2"}, None, None),
        ({}, "token", None),
    ],
)
def test_a_field_is_suggested_if_its_name_is_one_of_ours(
    content: object, field: str | None, suggested: str | None
) -> None:
    hint = failure(secret(content), field).hint or ""
    assert hint.startswith(f"did you mean {suggested}? " if suggested else ("correct", "name"))


def test_an_error_counts_the_fields() -> None:
    for count, text in ((0, "no fields"), (1, "1 field"), (3, "3 fields")):
        error = failure(secret({f"f{number}": "x" for number in range(count)}), "tokne")
        assert f"the secret has no field tokne; it has {text}" == error.message


def test_an_error_holds_nothing_of_the_secret(canary: str) -> None:
    for content in ({"a": canary, "b": "2"}, {"token": [canary]}, {"x": canary, canary: "y"}):
        for field in (None, "nothing"):
            assert [] == appearances(canary, reachable_text(failure(secret(content), field)))
    assert [] == appearances(canary, reachable_text(failure(secret(canary.encode()), "nothing")))


@each_row(
    ("current", "field", "stored"),
    [
        (None, None, b"new"),
        (None, "token", {"token": "new"}),
        (None, "other", {"other": "new"}),
        (b"", "other", {"other": "new"}),
        (b"plain", None, b"new"),
        ({"token": "t", "other": "o"}, None, {"token": "new", "other": "o"}),
        ({"token": "t", "other": "o"}, "other", {"token": "t", "other": "new"}),
        ({"token": "t"}, "third", {"token": "t", "third": "new"}),
        ({"only": "o"}, None, {"only": "new"}),
        ({}, None, {"token": "new"}),
        (
            {"token": 1, "n": [1, {"x": None}], "f": 0.1, "i": 10**25},
            None,
            {"token": "new", "n": [1, {"x": None}], "f": 0.1, "i": 10**25},
        ),
        (b'{"token": "t", "half": "\\ud800"}', None, {"token": "new", "half": "\ud800"}),
    ],
)
def test_a_field_is_put_beside_the_others(current: object, field: str | None, stored: object) -> None:
    merged = merge_field(None if current is None else secret(current), field, SecretValue(b"new")).reveal()
    assert stored == (
        merged if isinstance(stored, bytes) else json.loads(merged.decode("utf-8", "surrogatepass"))
    )


@each_row(
    ("current", "field", "value", "error"),
    [
        ({"a": "1", "b": "2"}, None, b"new", SecretNotFoundError),
        (b"plain", "token", b"new", SecretNotFoundError),
        (b'{"cut": "of', "token", b"new", SecretNotFoundError),
        (None, "token", b"\xff\x00", UnsupportedOperationError),
        ({"token": "t"}, None, b"\xff", UnsupportedOperationError),
    ],
)
def test_what_would_lose_something_is_refused(
    current: object, field: str | None, value: bytes, error: type[AstroTokenError]
) -> None:
    with pytest.raises(error):
        merge_field(None if current is None else secret(current), field, SecretValue(value))


@given(
    st.dictionaries(st.text(max_size=6), st.none() | st.integers() | st.text(max_size=6), max_size=4),
    st.text(min_size=1, max_size=6),
    st.text(max_size=20),
)
def test_what_was_put_is_what_is_chosen_and_the_others_are_as_they_were(
    others: dict[str, Any], field: str, text: str
) -> None:
    merged = merge_field(secret(others), field, SecretValue(text.encode()))
    assert text.encode() == select_field(merged, field).reveal()
    assert {**others, field: text} == json.loads(merged.reveal())


def test_the_order_of_the_fields_is_kept() -> None:
    assert ["z", "token", "a"] == list(
        json.loads(merge_field(secret({"z": 1, "token": "t", "a": 2}), None, SecretValue(b"n")).reveal())
    )


def test_two_secrets_are_the_same_however_a_service_writes_its_json() -> None:
    assert same_secret(SecretValue(b'{"a": "1", "b": "2"}'), SecretValue(b'{"b":"2","a":"1"}'))
    assert same_secret(SecretValue(b"plain"), SecretValue(b"plain"))
    assert not same_secret(SecretValue(b'{"a": "1"}'), SecretValue(b'{"a": "2"}'))
    assert not same_secret(SecretValue(b"plain"), SecretValue(b"plain\n"))
    assert not same_secret(SecretValue(b"[1]"), SecretValue(b"[2]"))
