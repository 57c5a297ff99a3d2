"""Reading what the Astro CLI wrote, and nothing cleverer than that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_token.deploy.config import settings_of, text_of
from tests.programs.standin.block_yaml import write_yaml
from tests.timing import SLACK

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
VALUES = st.text("abc019 .:/#'\"-\\{}[]&*!|>%@`,?~", max_size=12)
TREES = st.recursive(
    VALUES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
)


def flat(tree: object, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, dict):
        return {prefix[:-1]: str(tree)} if str(tree) else {}
    return {
        key: value for name, below in tree.items() for key, value in flat(below, f"{prefix}{name}.").items()
    }


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=3))
def test_what_the_astro_cli_writes_is_read_or_said_not_to_be(tree: dict[str, object]) -> None:
    values, whole = settings_of(write_yaml(tree))
    expected = {key: value for key, value in flat(tree).items() if "token" not in key}
    read = {key: value for key, value in values.items() if "token" not in key}
    assert not whole or expected == read
    assert read.items() <= expected.items()


@given(st.text(max_size=200))
def test_nothing_makes_it_fail(text: str) -> None:
    settings_of(text)


@pytest.mark.parametrize(
    ("text", "values", "whole"),
    [
        ("a:\n  b: c # no\n  d: 'e # f'\n", {"a.b": "c", "a.d": "e # f"}, True),
        ("A:\n    B: C\n", {"a.b": "C"}, True),
        ("a.b: c\n", {"a.b": "c"}, True),
        ("---\r\na: b\r\n", {"a": "b"}, True),
        ("a: b\n# note\n\nc: \"d\"\ne: ''\nf:\ng: ~\nh: {}\n", {"a": "b", "c": "d"}, True),
        ("a:\n  b: |-\n    c: d\n    e\n  f: g\n", {"a.b": "|-", "a.f": "g"}, True),
        ("contexts:\n  x:\n    token: Bearer y\n    refreshtoken: z\n",
         {"contexts.x.token": "…", "contexts.x.refreshtoken": "…"}, True),
        ("a: {b: c}\n", {}, False),
        ("a: &x b\nc: *x\n", {}, False),
        ("- a\n", {}, False),
        ('a: "b\\n"\n', {}, False),
        ("a: b: c\n", {}, False),
    ],
)  # fmt: skip
def test_only_plain_lines_are_read(text: str, values: dict[str, str], whole: bool) -> None:
    assert (values, whole) == tuple(settings_of(text))


@pytest.mark.parametrize(
    "text", [" " * 250_000 + "x", "a" * 250_000, "a: " + " #" * 120_000, "a:\n" * 80_000]
)
def test_a_hostile_file_costs_no_more_than_its_length(text: str) -> None:
    start = time.process_time()
    settings_of(text)
    assert time.process_time() - start < SLACK  # hours, did it grow with the square


def test_a_file_that_is_long_or_none_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert None is text_of(file)
    file.write_bytes(b"\xef\xbb\xbfa\xff")
    assert "a\ufffd" == text_of(file)
    assert None is text_of(file, 4)
    assert None is text_of(tmp_path)
