"""The format for programs that read JSON."""

from __future__ import annotations

import json

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.rendering import Rendering, Variables
from tests.formats.consumers import NAME, misread, ours, read_json, read_json_in_a_pipe
from tests.formats.texts import PIECES, UNFIT
from tests.rows import each_row


def test_it_is_one_line_of_ascii_with_the_names_as_keys() -> None:
    text = render("json", Variables({NAME: "é\n\u2028", "B": "x"}, ("OLD",))).text
    assert {NAME: "é\n\u2028", "B": "x"} == json.loads(text)
    assert text.isascii()
    assert 1 == text.count("\n")
    assert text.endswith("\n")


def test_every_piece_is_carried() -> None:
    assert [] == misread(ours("json"), read_json, PIECES)


@each_row("text", UNFIT)
def test_what_no_environment_can_hold_is_refused(text: str) -> None:
    # Two halves of a character beside each other would come back as one character.
    with pytest.raises(OutputError, match="JSON cannot carry this value"):
        render("json", Variables({NAME: text}))


def test_another_program_reads_it_from_a_pipe() -> None:
    assert [] == misread(ours("json"), read_json_in_a_pipe, PIECES)


def test_a_careless_rendering_is_caught() -> None:
    def careless(given: Variables) -> Rendering:
        (value,) = given.set.values()
        return Rendering(f'{{"{NAME}": "{value}"}}\n' if value.isalnum() else f'{{"{NAME}": "?"}}\n')

    assert ["a b", '"'] == misread(careless, read_json, ["plain", "a b", '"'])
