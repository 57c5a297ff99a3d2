"""docs/formats.md names every format and system, and its lines are the ones that are tested."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from astro_token.ci import all_systems
from astro_token.ci.formats import all_formats, render
from astro_token.formats.rendering import Variables
from tests.formats.consumers import ENVIRON, NAME, PATH, there

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()
SHELLS = PAGE.partition("## In a shell")[2].partition("## In a CI")[0]
LINES = {
    match[1]: match[2].replace("\\|", "|")
    for match in re.finditer(r"^\| `(\w+)` \|[^|]*\| `+(.*?)`+ \|$", SHELLS, re.MULTILINE)
}


def test_every_format_and_system_has_a_row() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert [] == [name for name in all_formats() if not any(f"`{name}`" in row for row in rows)]
    for system in all_systems():
        name = system.name.replace(" Actions", "").replace(" CI", "")
        assert any(name in row for row in rows), system.name


@pytest.mark.parametrize("name", ["posix", "fish", "nushell", "powershell", "cmd"])
def test_what_export_says_is_what_the_page_says(name: str) -> None:
    call = f"astro-token export --format {name} prod"
    assert LINES[name] in render(name, Variables({NAME: "x"}, environ=ENVIRON, call=call)).then


RUN = {"posix": ["bash", "-c"], "fish": ["fish", "--no-config", "-c"], "nushell": ["nu", "-n", "-c"]}
SHOW = {
    "posix": f'; printf %s "${NAME}"',
    "fish": f'; printf %s "${NAME}"',
    "nushell": f"; print -n $env.{NAME}",
}


@pytest.mark.parametrize("name", [name for name in RUN if there(RUN[name][0], needed=name != "nushell")])
@pytest.mark.parametrize("code", [0, 73])
def test_the_lines_of_the_page_work_and_stop_at_a_failure(name: str, code: int, tmp_path: Path) -> None:
    text = render(name, Variables({NAME: "it's"})).text
    (tmp_path / "text").write_text(text)
    program = tmp_path / "astro-token"
    program.write_text(f'#!/bin/sh\n[ {code} = 0 ] && exec cat "{tmp_path}/text"\nexit {code}\n')
    program.chmod(0o755)
    fails = {"posix": " || exit", "fish": "; or exit", "nushell": ""}[name]
    done = subprocess.run(
        [*RUN[name], LINES[name] + fails + SHOW[name]],
        env={"PATH": f"{tmp_path}:{PATH}", "HOME": str(tmp_path), NAME: "old"},
        capture_output=True,
        text=True,
    )
    assert ("" if code else "it's", code != 0) == (done.stdout, done.returncode != 0)
