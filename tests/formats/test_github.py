"""The format for GitHub Actions, read by a model of its runner."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from astro_token.ci.formats import masks, render
from astro_token.errors import OutputError
from astro_token.formats.rendering import File, Rendering, Variables
from tests.formats.consumers import NAME, misread, ours, runner_reader, variables
from tests.formats.runner import RefusedFileError, Runner
from tests.formats.texts import PIECES
from tests.rows import each_row

ENVIRON = {"GITHUB_ENV": "/runner/env", "GITHUB_OUTPUT": "/runner/output"}


def rendered(value: str) -> Rendering:
    return render("github", Variables({NAME: value}, environ=ENVIRON, log="github"))


def step(rendering: Rendering, *, debug: bool = False, before: bytes = b"") -> Runner:
    """A step that hands over as `export` does: the masks first, then the file."""
    runner = Runner(debug=debug)
    if rendering.masks:
        runner.output(rendering.masks.text)
        assert [""] == runner.log  # the line in front, which ends what was left open
        runner.log.clear()
    runner.end_step(before + rendering.text.encode())
    return runner


def commands(value: str) -> list[str]:
    return masks("github", (value,)).text.removeprefix("\n").splitlines()


# -- the file --------------------------------------------------------------------------------------------


FILES = {"github": "GITHUB_ENV", "github-output": "GITHUB_OUTPUT"}
formats = pytest.mark.parametrize("form", FILES)


@formats
def test_it_goes_into_the_file_that_the_runner_names(form: str) -> None:
    to = render(form, Variables({NAME: "x"}, environ=ENVIRON)).to
    assert isinstance(to, File)
    assert (Path(ENVIRON[FILES[form]]), False) == (to.path, to.may_create)


@formats
@pytest.mark.parametrize("path", [None, ""])
def test_without_that_file_there_is_no_place_for_it(form: str, path: str | None) -> None:
    environ = {"GITHUB_ACTIONS": "true", **({} if path is None else {FILES[form]: path})}
    with pytest.raises(OutputError, match=f"{FILES[form]} is not set"):
        render(form, Variables({NAME: "x"}, environ=environ))


HOME = {"RUNNER_TEMP": "/work/_temp", "GITHUB_WORKSPACE": "/work/project/project"}


@formats
@pytest.mark.parametrize(
    ("path", "environ"),
    [
        ("/work/_temp/_runner_file_commands/set_env_1", HOME),
        ("/github/file_commands/set_env_1", HOME),
        ("/anywhere/set_env_1", {}),
        ("/var/run/act/workflow/envs.txt", {"ACT": "true", **HOME}),
        ("/var/run/act/workflow/envs.txt", {"GITEA_ACTIONS": "true", **HOME}),
        ("/var/run/act/workflow/envs.txt", {"FORGEJO_ACTIONS": "true", **HOME}),
        ("/work/_temp/set_env_1", {"RUNNER_TEMP": "/work/_temp", "GITHUB_WORKSPACE": "/work"}),
    ],
)
def test_a_file_where_the_runner_keeps_them_is_taken(form: str, path: str, environ: dict[str, str]) -> None:
    rendering = render(form, Variables({NAME: "x"}, environ={**environ, FILES[form]: path}))
    assert isinstance(rendering.to, File)
    assert Path(path) == rendering.to.path


@formats
@pytest.mark.parametrize(
    ("path", "environ"),
    [
        ("/home/me/.bashrc", HOME),
        ("/work/_temp/../../etc/environment", HOME),
        ("/work/_temporary/set_env_1", HOME),
        ("set_env_1", {}),
        ("./set_env_1", HOME),
        ("/work/project/project/env", HOME),
        ("/work/project/project/env", {"ACT": "true", **HOME}),
        ("/work/project/env", {"GITHUB_WORKSPACE": "/work/project"}),
    ],
)
def test_a_variable_that_lies_is_refused(form: str, path: str, environ: dict[str, str]) -> None:
    with pytest.raises(OutputError, match=f"{FILES[form]} names .*, but the runner keeps no such file there"):
        render(form, Variables({NAME: "x"}, environ={**environ, FILES[form]: path}))


def test_an_outputs_place_is_told() -> None:
    assert f"steps.ID.outputs.{NAME}" in render("github-output", variables("x")).then


def test_it_is_a_block_with_a_random_delimiter_of_128_bits() -> None:
    texts = [render("github", variables("x")).text for _ in range(50)]
    found = [re.fullmatch(rf"\n{NAME}<<(ghadelimiter_[0-9a-f]{{32}})\nx\n\1\n", text) for text in texts]
    assert 50 == len({match[1] for match in found if match})


@pytest.mark.parametrize("windows", [False, True])
def test_the_runner_reads_every_piece_alone(*, windows: bool) -> None:
    assert [] == misread(ours("github"), runner_reader(windows=windows), PIECES)


@each_row("before", [b"BEFORE=1\n", b"BEFORE=1", b"BEFORE<<X\n1\nX\n", b"BEFORE<<X\n1\nX", b"\n\nBEFORE=1"])
def test_what_an_earlier_command_wrote_does_no_harm_even_without_its_line_end(before: bytes) -> None:
    assert [] == misread(ours("github"), runner_reader(before=before), ["x", "a\nb", "A=1", "C<<D\n1\nD"])


@pytest.mark.parametrize("value", ["\r", "a\r\nb", "\0", "\ud800"])
def test_what_a_runner_could_read_otherwise_is_refused(value: str) -> None:
    with pytest.raises(OutputError, match="GitHub's runner cannot carry this value"):
        render("github", variables(value))


def test_several_variables_stand_in_blocks_of_their_own() -> None:
    rendering = render("github", Variables({"A": "1\n", "B": "", "C": "\n"}, environ=ENVIRON))
    assert {"A": "1\n", "B": "", "C": "\n"} == step(rendering).environment


def test_no_value_names_a_further_variable() -> None:
    known = "ghadelimiter_" + "0" * 32
    for value in (f"{known}\nPATH=/evil", "EOF\nPATH=/evil", "\nPATH=/evil", "x\n\nPATH<<E\n/evil\nE\n"):
        assert {NAME: value} == step(render("github", variables(value))).environment


# -- the log ---------------------------------------------------------------------------------------------

SECRETS = (
    "a-secret",
    "first line\nsecond line\nthird line",
    "  indented\n\ttabbed  \n",
    "100%\n%0A%25",
    "::error::x\n::stop-commands::y",
    "##[error]hidden",
    'with "quotes"',
    "naïve ✓ 日本語",
    "a\u2028separator",
)


@each_row("secret", SECRETS)
def test_the_masks_hide_the_value_and_each_of_its_lines(secret: str) -> None:
    runner = step(rendered(secret), debug=True)
    shown = [
        runner.masked(secret),
        *(runner.masked(f"x {line} y") for line in secret.splitlines()),
        *runner.log,
    ]
    left = [
        line.strip()
        for line in secret.split("\n")
        if len(line.strip()) >= 8 and any(line.strip() in text for text in shown)
    ]
    assert [] == left


@each_row("secret", SECRETS)
def test_every_mask_is_a_command_that_the_runner_takes_out_of_the_log(secret: str) -> None:
    runner = Runner()
    for mask in masks("github", (secret,)).text.split("\n"):
        runner.output(mask + "\n")
    runner.log = [line for line in runner.log if line]
    assert [] == runner.log
    assert secret in runner.masks


def test_the_masks_hide_a_token_and_what_is_made_of_it(canary: str) -> None:
    import base64
    import json
    from urllib.parse import quote

    runner = step(rendered(canary), debug=True)
    for text in (
        canary,
        f"Bearer {canary}",
        json.dumps({"t": canary}),
        quote(canary),
        base64.b64encode(canary.encode()).decode(),
    ):
        assert canary not in runner.masked(text)
        assert "***" in runner.masked(text)
    assert [f"##[debug]{NAME}='***'"] == runner.log


@pytest.mark.parametrize("text", ["", " ", "\n", "\n \n"])
def test_a_blank_value_has_no_mask_since_the_runner_warns_of_one(text: str) -> None:
    assert [] == commands(text)


def test_short_lines_are_not_masked_alone_since_they_would_hide_words_all_over_the_log() -> None:
    whole = [text.partition("::add-mask::")[2] for text in commands("{\n  ab\nlonger than that\n}")]
    assert "{%0A  ab%0Alonger than that%0A}" == whole[0]
    assert "longer than that" in whole
    assert 8 <= min(map(len, whole))


def test_a_short_value_is_masked_all_the_same() -> None:
    assert "::add-mask::abc" == commands("abc")[0]


def test_the_mask_is_a_command_even_after_an_open_line(canary: str) -> None:
    runner = Runner()
    runner.output("an open line" + masks("github", (canary,)).text)
    assert ["an open line"] == runner.log
    assert canary in runner.masks


# -- the model, and what it catches ----------------------------------------------------------------------


@each_row(
    ("file", "environment"),
    [
        (b"A=1\n", {"A": "1"}),
        (b"A=1", {"A": "1"}),
        (b"A=1\r\n", {"A": "1\r"}),
        (b"A=x<<y\n", {"A": "x<<y"}),
        (b"A=\n", {"A": ""}),
        (b"\n\nA=1\n\n", {"A": "1"}),
        (b"A<<E\nx\nE\n", {"A": "x"}),
        (b"A<<E\nx\nE", {"A": "x"}),
        (b"A<<E\nE\n", {"A": ""}),
        (b"A<<E\n\nE\n", {"A": ""}),
        (b"A<<E\n\n\nE\n", {"A": "\n"}),
        (b"A<<E\n E\nEE\nE\n", {"A": " E\nEE"}),
        (b"A<<B=C\nx\nB=C\n", {"A": "x"}),
        (b"A<<E\nx\nE\nA<<E\ny\nE\n", {"A": "y"}),
        (b"NODE_OPTIONS=x\nA=1\n", {"A": "1"}),
    ],
)
def test_the_model_reads_files_as_the_runner_does(file: bytes, environment: dict[str, str]) -> None:
    runner = Runner()
    runner.end_step(file)
    assert environment == runner.environment


@each_row("file", [b"A\n", b"A<<E\nx\n", b"A<<E\nx", b"A<<\nx\n", b"<<E\nx\nE\n", b"=x\n", b"A<<E\nx\nE \n"])
def test_the_model_refuses_what_the_runner_refuses(file: bytes) -> None:
    with pytest.raises(RefusedFileError):
        Runner().end_step(file)


def test_the_model_shows_a_malformed_line_in_the_log_as_the_runner_does() -> None:
    runner = Runner()
    with pytest.raises(RefusedFileError):
        runner.end_step(b"A=1\nthe secret line\n")
    assert ["Error: Invalid format 'the secret line'"] == runner.log


def test_on_windows_the_model_takes_a_carriage_return_for_a_part_of_the_line_end() -> None:
    runner = Runner(windows=True)
    runner.end_step(b"A<<E\r\nx\r\ny\r\nE\r\n")
    assert {"A": "x\r\ny"} == runner.environment


@each_row(
    ("line", "masks"),
    [
        ("::add-mask::x", {"x"}),
        ("  ::add-mask::x", {"x"}),
        ("::ADD-MASK::x", {"x"}),
        ("::add-mask a=b::x", {"x"}),
        ("::add-mask::a%0Ab", {"a\nb", "a", "b"}),
        ("::add-mask::a%250Ab", {"a%0Ab"}),
        ("::add-mask:: x ", {" x ", "x"}),
        ("text ::add-mask::x", set()),
        ("text ##[add-mask]x", {"x"}),
        ("::add-mask::", set()),
        ("::nothing::x", set()),
    ],
)
def test_the_model_obeys_commands_as_the_runner_does(line: str, masks: set[str]) -> None:
    runner = Runner()
    runner.output(line)
    assert masks == runner.masks


def test_the_model_obeys_no_command_while_it_is_stopped() -> None:
    runner = Runner()
    runner.output("::stop-commands::t\n::add-mask::x\n::t::\n::add-mask::y\n")
    assert {"y"} == runner.masks


def name_is_value(given: Variables) -> Rendering:
    return Rendering("".join(f"{name}={value}\n" for name, value in given.set.items()))


def fixed_delimiter(given: Variables) -> Rendering:
    return Rendering("".join(f"{name}<<EOF\n{value}\nEOF\n" for name, value in given.set.items()))


def no_last_line_end(given: Variables) -> Rendering:
    return Rendering(ours("github")(given).text.replace("\n", "", 1))


INJECTIONS = ["plain", "two\nlines", "x\nEOF\nPATH<<EOF\n/evil", "x\nPATH=/evil", "EOF"]


def test_a_careless_rendering_is_caught() -> None:
    assert INJECTIONS[1:4] == misread(name_is_value, runner_reader(), INJECTIONS)
    assert ["x\nEOF\nPATH<<EOF\n/evil", "EOF"] == misread(fixed_delimiter, runner_reader(), INJECTIONS)
    assert INJECTIONS == misread(no_last_line_end, runner_reader(before=b"BEFORE=1"), INJECTIONS)


def test_a_mask_after_the_file_is_caught(canary: str) -> None:
    rendering = rendered(canary)
    runner = Runner(debug=True)
    runner.end_step(rendering.text.encode())
    assert rendering.masks
    runner.output(rendering.masks.text)
    assert any(canary in line for line in runner.log)
