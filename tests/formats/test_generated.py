"""Hundreds of generated texts for each format: the consumer reads back the text, or it was refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import all_formats
from tests.formats.consumers import (
    WAYS,
    misread,
    ours,
    read_json_in_a_pipe,
    refused,
    shell_reader,
    shells,
    shells_in_ways,
)
from tests.formats.logs import LOGS, misses, misses_of_plain
from tests.formats.sweep import READERS, faults, faults_of_all, may_refuse, swept
from tests.formats.test_shells import OTHERS, SH_FORMATS, other_reader
from tests.formats.texts import texts, unfit

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 300
LONG = 1_000_000
PER_SHELL, LONG_PER_SHELL = 40, 10_000
PER_WAY = -(-LONG_PER_SHELL // len(WAYS))
PER_LOG = 100
BATCH = 1000


def batches(count: int, seed: str) -> Iterator[list[str]]:
    given = list(texts(count, seed))
    for start in range(0, count, BATCH):
        yield given[start : start + BATCH]


def test_every_format_is_read_by_something() -> None:
    nowhere = {"cloudbuild", "jenkins", "tekton", "woodpecker", "drone", "harness", "direnv"}
    read = READERS.keys() | SH_FORMATS | {other.format for other in OTHERS.values()}
    assert all_formats().keys() == read | nowhere


@pytest.mark.parametrize("name", READERS)
def test_the_consumer_reads_back_each_text(name: str) -> None:
    assert [] == faults(name, texts(COUNT, name))


def test_a_program_in_a_pipe_reads_back_each_text() -> None:
    assert [] == misread(ours("json"), read_json_in_a_pipe, list(texts(1000, "pipe")))


@shells_in_ways(1)
def test_a_shell_reads_back_each_text(shell: str, way: str) -> None:
    given = list(texts(PER_SHELL, f"{shell} {way}"))
    assert [] == misread(ours("posix"), shell_reader(shell, way), given)
    assert [text for text in given if unfit(text)] == refused(ours("posix"), given)


@pytest.mark.parametrize("other", OTHERS)
def test_any_other_shell_reads_back_each_text(other: str) -> None:
    name = OTHERS[other].format
    given = list(texts(PER_SHELL, other))
    assert [] == misread(ours(name), other_reader(other), given)
    assert [text for text in given if may_refuse(name, text)] == refused(ours(name), given)


@pytest.mark.parametrize("log", LOGS)
def test_the_masks_of_each_text_hide_every_form_of_it(log: str) -> None:
    assert [] == misses(log, PER_LOG, log)


def test_forms_that_are_not_masked_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astro_token.masker.forms.texts_to_hide", lambda values: list(values))
    found = {form for form, _ in misses("buildkite", 100, "raw alone")}
    parts = {"a line", "a part", "hexadecimal", "hexadecimal in capitals"}
    assert (
        parts | {f"{alphabet}b64encode after {n}" for alphabet in ("", "urlsafe_") for n in range(3)} <= found
    )
    monkeypatch.setattr("astro_token.masker.forms.texts_to_hide", lambda values: ["another"])
    assert "itself" in {form for form, _ in misses("buildkite", 100, "nothing")}


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"json", "nushell", "value", "buildkite"}))
def test_values_that_are_not_refused_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing refused, and for GitHub nothing random, the consumers read something else."""
    for module in ("text", "files", "shells"):
        monkeypatch.setattr(f"astro_token.formats.{module}.carry_line", lambda _, text, __=(): text)
    monkeypatch.setattr("astro_token.formats.files._escaped", lambda text: text)
    monkeypatch.setattr("secrets.token_hex", lambda _: "")
    given = [*texts(COUNT, name), "x\nghadelimiter_\nPATH<<E\n/evil\nE"]
    assert faults(name, given)


@pytest.mark.long
def test_the_consumers_read_back_each_of_a_million_texts() -> None:
    start = time.monotonic()
    assert [] == swept(faults_of_all, LONG)
    print(f"\n{len(READERS)} formats, {LONG} texts each, 0 faults: {time.monotonic() - start:.0f} s")


@pytest.mark.long
def test_the_masks_of_each_of_a_million_texts_hide_every_form_of_it() -> None:
    start = time.monotonic()
    assert [] == swept(misses_of_plain, LONG)
    print(f"\nmasks, {LONG} texts, 0 misses: {time.monotonic() - start:.0f} s")


@pytest.mark.long
@shells
@pytest.mark.parametrize("way", WAYS)
def test_a_shell_reads_back_each_of_very_many_texts(shell: str, way: str) -> None:
    for given in batches(PER_WAY, f"long {shell} {way}"):
        assert [] == misread(ours("posix"), shell_reader(shell, way), given)


@pytest.mark.long
@pytest.mark.parametrize("other", OTHERS)
def test_any_other_shell_reads_back_each_of_very_many_texts(other: str) -> None:
    for given in batches(LONG_PER_SHELL, f"long {other}"):
        assert [] == misread(ours(OTHERS[other].format), other_reader(other, children=False), given)
