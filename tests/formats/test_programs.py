"""The format that goes to a program's standard input, by a stand-in for Buildkite's agent."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import masks, render
from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError
from astro_token.formats.delivery import feed, find
from astro_token.formats.rendering import Program, Variables
from astro_token.testing import appearances
from tests.formats.consumers import NAME, variables
from tests.rows import each_row
from tests.timing import within

if TYPE_CHECKING:
    from pathlib import Path

LOG = ("buildkite-agent", "redactor", "add", "--format=json")
ENV = ("buildkite-agent", "env", "set", "--input-format=json", "--output-format=json", "-")


def planted(folder: Path, name: str, body: str) -> dict[str, str]:
    """A program, and the environment in which it is found."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable} -IS\nimport sys, os, time, json\n{body}\n")
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}"}


def test_buildkites_agent_gets_one_line_of_json_by_standard_input(canary: str) -> None:
    rendering = render("buildkite", Variables({NAME: canary}, log="buildkite"))
    assert isinstance(rendering.to, Program)
    assert rendering.masks
    assert isinstance(rendering.masks.to, Program)
    assert (ENV, LOG) == (rendering.to.argv, rendering.masks.to.argv)
    assert f'{{"{NAME}": "{canary}"}}\n' == rendering.text
    told = json.loads(rendering.masks.text)
    assert canary in told.values()
    assert all(isinstance(text, str) and len(text) >= 8 for text in told.values())


def test_a_line_that_the_agent_cannot_read_is_refused() -> None:
    with pytest.raises(OutputError, match="it is too long"):
        render("buildkite", variables("x" * 60_000))


def test_a_masks_json_may_be_long(tmp_path: Path) -> None:
    text = masks("buildkite", ("é" * 16_000,)).text
    environ = planted(tmp_path, "agent", f"sys.exit(len(sys.stdin.buffer.read()) != {len(text)})")
    assert feed(Program(("agent",)), text.encode(), environ, 10) is None


def test_it_gets_all_of_the_text_and_its_output_is_seen_by_nobody(
    tmp_path: Path, canary: str, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "text = sys.stdin.read(); print(text); print(text, file=sys.stderr); open('got', 'w').write(text)"
    environ = planted(tmp_path, "agent", f"os.chdir({str(tmp_path)!r}); {body}")
    assert feed(Program(("agent", "x")), canary.encode(), environ, 10) is None
    assert (canary, ("", "")) == ((tmp_path / "got").read_text(), tuple(capfd.readouterr()))


@each_row(
    "body",
    [
        "sys.stdin.read(); sys.exit(1)",
        "sys.exit(1)",
        "os.close(0); sys.exit(3)",
        "sys.stdin.read(); print('null')",
        "sys.stdin.read(); print(json.dumps({'added': None}))",
        "os.kill(os.getpid(), 9)",
    ],
)
def test_a_program_that_fails_or_does_not_confirm_it_is_told(tmp_path: Path, body: str, canary: str) -> None:
    environ = planted(tmp_path, "agent", body)
    error = feed(Program(("agent", "env", "set", "-"), f'"{NAME}"'), canary.encode() * 200, environ, 10)
    assert isinstance(error, OutputError)
    assert "agent env set did not take the value" == error.message
    assert [] == appearances(canary, f"{error} {error.hint} {error.args}")


def test_a_program_that_confirms_it_is_believed(tmp_path: Path) -> None:
    environ = planted(tmp_path, "agent", f'sys.stdin.read(); print(\'{{"added": ["{NAME}"]}}\')')
    assert feed(Program(("agent",), f'"{NAME}"'), b"{}", environ, 10) is None


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        "sys.stdin.read(); time.sleep(60)",
        "sys.stdout.write('x' * 9999999); sys.stdout.flush(); time.sleep(60)",
    ],
)
def test_a_program_that_does_not_end_is_ended(tmp_path: Path, body: str) -> None:
    environ = planted(tmp_path, "agent", body)
    with within(0.5, at_least=0.5):
        error = feed(Program(("agent", "x")), b"y" * 1_000_000, environ, 0.5)
    assert isinstance(error, BackendUnavailableError)
    assert "agent x did not end in time" == error.message


@pytest.mark.parametrize("own", ["", "os.setsid();"])
def test_what_a_program_leaves_behind_is_not_waited_for(tmp_path: Path, own: str) -> None:
    """It has said by its own end that it took the value."""
    environ = planted(tmp_path, "agent", f"sys.stdin.read()\nif not os.fork():\n    {own} time.sleep(20)")
    with within(0):
        assert feed(Program(("agent", "x")), b"y", environ, 60) is None


def test_much_output_does_no_harm(tmp_path: Path) -> None:
    environ = planted(tmp_path, "agent", "sys.stdin.read(); sys.stdout.write('x' * 9999999)")
    assert feed(Program(("agent",)), b"x", environ, 10) is None


def test_only_absolute_folders_of_the_path_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = planted(tmp_path, "agent", "pass")
    assert str(tmp_path / "bin" / "agent") == find("agent", environ)
    monkeypatch.chdir(tmp_path / "bin")
    for path in ("", ".", "bin", ":", "../bin"):
        with pytest.raises(OutputError, match="agent takes the value, and is not on PATH"):
            find("agent", {"PATH": path})
    (tmp_path / "bin" / "agent").chmod(stat.S_IRUSR)
    with pytest.raises(AstroTokenError, match="is not on PATH"):
        find("agent", environ)


def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    environ = planted(tmp_path, "agent", "pass")
    (tmp_path / "bin" / "agent").write_text("#!/no/such/interpreter\n")
    assert isinstance(feed(Program(("agent",)), b"x", environ, 10), OutputError)
