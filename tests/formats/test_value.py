"""The bare value."""

from __future__ import annotations

import pytest

from astro_token.ci.formats import all_formats, render
from astro_token.errors import OutputError, UsageError
from astro_token.formats import Refusal
from astro_token.formats.rendering import Rendering, Variables
from astro_token.testing import appearances
from tests.formats.consumers import ENVIRON, NAME, misread, ours, read_bytes
from tests.formats.texts import PIECES, UNFIT
from tests.rows import each_row


def test_it_is_the_value_and_nothing_else() -> None:
    assert " a\nb " == render("value", Variables({NAME: " a\nb "}, ("OLD",))).text


def test_every_piece_is_carried_byte_by_byte() -> None:
    assert [] == misread(ours("value"), read_bytes, PIECES)


@each_row("text", UNFIT)
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
    assert f"choose from auto, {', '.join(all_formats())}" == caught.value.hint
    assert str(caught.value.hint).startswith("choose from auto, posix, fish, powershell, nushell, ")


@each_row("name", ["", "1A", "A B", "A=B", "A\nB", "A;id", "$(id)", "é", "A-B", "A" * 256, "A<<B", "A'"])
@each_row("format_name", all_formats())
def test_a_malformed_name_is_refused_by_every_format(format_name: str, name: str) -> None:
    for given in (Variables({name: "x"}, environ=ENVIRON), Variables({NAME: "x"}, (name,), ENVIRON)):
        with pytest.raises(OutputError, match="a variable's name is malformed"):
            render(format_name, given)


RENDERED = [name for name, row in all_formats().items() if not isinstance(row.render, Refusal)]


@each_row("log", [None, "github", "azure-pipelines", "buildkite"])
@each_row("format_name", RENDERED)
def test_neither_what_is_rendered_nor_its_rendering_shows_itself(
    format_name: str, log: str | None, canary: str
) -> None:
    given = Variables({NAME: canary}, environ={**ENVIRON, "OTHER": canary}, log=log)
    rendering = render(format_name, given)
    shown = f"{given} {given!r} {rendering} {rendering!r} {rendering.masks!r} {rendering.to} {rendering.then}"
    assert [] == appearances(canary, shown)
    assert "raw" in appearances(canary, rendering.text)
    assert (log is not None) == (
        "raw" in appearances(canary, rendering.masks.text if rendering.masks else "")
    )


@each_row("format_name", RENDERED)
def test_a_refusal_shows_nothing_of_the_value(format_name: str, canary: str) -> None:
    with pytest.raises(OutputError) as caught:
        render(format_name, Variables({NAME: f"{canary}\0"}, environ=ENVIRON))
    assert [] == appearances(canary, f"{caught.value} {caught.value.hint} {caught.value.args}")


@each_row("format_name", RENDERED)
def test_every_format_says_what_there_is_to_do_then_in_one_line(format_name: str) -> None:
    then = render(format_name, Variables({NAME: "x"}, environ=ENVIRON)).then
    assert 10 < len(then)
    assert then.isprintable()


@each_row("format_name", sorted(all_formats().keys() - set(RENDERED)))
def test_what_has_no_safe_place_is_refused_with_a_line_that_works_there(format_name: str) -> None:
    with pytest.raises(OutputError, match="has no safe destination for the value: ") as caught:
        render(format_name, Variables({NAME: "x"}, environ=ENVIRON))
    assert str(caught.value.hint).startswith("use exec: ")
    assert "astro-token exec -- astro deploy" in str(caught.value.hint)
