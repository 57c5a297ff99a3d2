"""Thousands of generated texts for each format: the consumer reads back the text, or it was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.formats import render
from astro_token.formats.github import masked
from tests.formats.consumers import (
    WAYS,
    misread,
    ours,
    read_bytes,
    read_json,
    read_json_in_a_pipe,
    refused,
    runner_reader,
    shell_reader,
    shells,
    variables,
)
from tests.formats.runner import Runner
from tests.formats.texts import texts, unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[list[str]], list[str | None]]

COUNTS = {"json": 4000, "value": 3000, "github": 4000}
LONG = 100_000
PER_SHELL, LONG_PER_SHELL = 300, 3000
READERS: dict[str, Read] = {"json": read_json, "value": read_bytes, "github": runner_reader()}


def may_refuse(name: str, text: str) -> bool:
    """What a format is allowed to refuse, so that refusing all is no way to pass."""
    return unfit(text) or (name == "github" and "\r" in text)


def test_over_ten_thousand_texts_are_rendered_by_default() -> None:
    assert sum(COUNTS.values()) + 12 * PER_SHELL > 10_000


@pytest.mark.parametrize("name", COUNTS)
def test_the_consumer_reads_back_each_text(name: str) -> None:
    given = list(texts(COUNTS[name], name))
    assert [] == misread(ours(name), READERS[name], given)
    assert [text for text in given if may_refuse(name, text)] == refused(ours(name), given)


def test_a_program_in_a_pipe_reads_back_each_text() -> None:
    given = list(texts(1000, "pipe"))
    assert [] == misread(ours("json"), read_json_in_a_pipe, given)


@shells
@pytest.mark.parametrize("way", WAYS)
def test_a_shell_reads_back_each_text(shell: str, way: str) -> None:
    given = list(texts(PER_SHELL, f"{shell} {way}"))
    assert [] == misread(ours("posix"), shell_reader(shell, way), given)
    assert [text for text in given if may_refuse("posix", text)] == refused(ours("posix"), given)


def unmasked(given: list[str]) -> list[str]:
    """The texts of which the log still shows the whole, or a line that is long enough to be told apart."""
    found = []
    for text in given:
        if may_refuse("github", text):
            continue
        runner = Runner(debug=True)
        for mask in render("github", variables(text)).masks:
            runner.output(mask)
        lines = [text, *(line.strip() for line in text.split("\n") if len(line.strip()) >= 4)]
        if runner.log or any(line.strip() and line in runner.masked(f"<{line}>") for line in lines):
            found.append(text)
    return found


def test_the_masks_of_each_text_hide_it_and_its_lines() -> None:
    assert [] == unmasked([text for text in texts(1500, "masks") if "*" not in text])


def test_masks_without_escapes_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro_token.formats.github._data", lambda text: text)
    assert ["two\nlines"] == unmasked(["two\nlines", "plain"])
    assert ("::add-mask::a\nlong line", "::add-mask::long line") == masked("a\nlong line")


@pytest.mark.long
@pytest.mark.parametrize("name", COUNTS)
def test_the_consumer_reads_back_each_of_very_many_texts(name: str) -> None:
    given = list(texts(LONG, f"long {name}"))
    assert [] == misread(ours(name), READERS[name], given)
    assert [text for text in given if may_refuse(name, text)] == refused(ours(name), given)


@pytest.mark.long
def test_a_runner_on_windows_reads_back_each_of_very_many_texts() -> None:
    assert [] == misread(ours("github"), runner_reader(windows=True), texts(LONG, "windows"))


@pytest.mark.long
@shells
@pytest.mark.parametrize("way", WAYS)
def test_a_shell_reads_back_each_of_very_many_texts(shell: str, way: str) -> None:
    assert [] == misread(
        ours("posix"), shell_reader(shell, way), texts(LONG_PER_SHELL, f"long {shell} {way}")
    )
