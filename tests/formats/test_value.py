"""The bare value."""

from __future__ import annotations

import pytest

from astro_token.errors import OutputError, UsageError
from astro_token.formats import FORMATS, Rendering, Variables, render
from astro_token.testing import appearances
from tests.formats.consumers import NAME, misread, ours, read_bytes
from tests.formats.texts import PIECES, UNFIT


def test_it_is_the_value_and_nothing_else() -> None:
    assert Rendering(" a\nb ") == render("value", Variables({NAME: " a\nb "}, ("OLD",)))


def test_every_piece_is_carried_byte_by_byte() -> None:
    assert [] == misread(ours("value"), read_bytes, PIECES)


@pytest.mark.parametrize("text", UNFIT)
def test_what_no_environment_can_hold_is_refused(text: str) -> None:
    with pytest.raises(OutputError, match="a file cannot carry this value"):
        render("value", Variables({NAME: text}))


def test_a_line_end_too_many_is_caught() -> None:
    def careless(given: Variables) -> Rendering:
        return Rendering("".join(given.set.values()) + "\n")

    assert ["x", ""] == misread(careless, read_bytes, ["x", ""])


# -- what all formats have in common ---------------------------------------------------------------------


def test_an_unknown_format_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        render("powershel", Variables({NAME: "x"}))
    assert "known are auto, posix, json, value, github" == caught.value.hint


@pytest.mark.parametrize(
    "name", ["", "1A", "A B", "A=B", "A\nB", "A;id", "$(id)", "é", "A-B", "A" * 256, "A<<B", "A'"]
)
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_malformed_name_is_refused_by_every_format(format_name: str, name: str) -> None:
    environ = {"GITHUB_ENV": "/env"}
    for given in (Variables({name: "x"}, environ=environ), Variables({NAME: "x"}, (name,), environ)):
        with pytest.raises(OutputError, match="a variable's name is malformed"):
            render(format_name, given)


@pytest.mark.parametrize("format_name", FORMATS)
def test_neither_what_is_rendered_nor_its_rendering_shows_itself(format_name: str, canary: str) -> None:
    given = Variables({NAME: canary}, environ={"GITHUB_ENV": "/env", "OTHER": canary})
    rendering = render(format_name, given)
    assert [] == appearances(canary, f"{given} {given!r} {rendering} {rendering!r}")
    assert "raw" in appearances(canary, rendering.text)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_refusal_shows_nothing_of_the_value(format_name: str, canary: str) -> None:
    with pytest.raises(OutputError) as caught:
        render(format_name, Variables({NAME: f"{canary}\0"}, environ={"GITHUB_ENV": "/env"}))
    assert [] == appearances(canary, f"{caught.value} {caught.value.hint} {caught.value.args}")
