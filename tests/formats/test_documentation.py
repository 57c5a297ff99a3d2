"""docs/formats.md names every format and system, and its lines are the ones that are tested."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.ci import all_systems
from astro_token.ci.formats import all_formats, render
from astro_token.formats import GENERIC, Refusal
from astro_token.formats.rendering import Variables
from tests.formats.consumers import ENVIRON, NAME, PATH, there
from tests.rows import each_row

if TYPE_CHECKING:
    from astro_token.ci.system import CISystem

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()
SHELLS = PAGE.partition("## In a shell")[2].partition("## In a CI")[0]
LINES = {
    match[1]: match[2].replace("\\|", "|")
    for match in re.finditer(r"^\| `(\w+)` \|[^|]*\| `+(.*?)`+ \|$", SHELLS, re.MULTILINE)
}


def rows(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    for before, row in itertools.pairwise(cells):
        row[0] = row[0] or before[0]  # a further format of the system
    return cells


def quoted(text: str) -> list[str]:
    return re.findall("`([a-z-]+)`", text)


def test_the_table_of_shells_has_a_row_for_each_format() -> None:
    table = rows("In a shell or a file")
    assert sorted(name for name, row in GENERIC.items() if not isinstance(row.render, Refusal)) == sorted(
        name for row in table for name in quoted(row[0])
    )


@each_row("system", all_systems(), ids=lambda system: f"{system.name} {[*system.marks]}")
def test_the_table_of_ci_systems_is_what_the_records_say(system: CISystem) -> None:
    name = system.name.removesuffix(" Actions").removesuffix(" CI")
    first, *more = [row for row in rows("In a CI system") if name in row[0]]
    refused = [form for form, row in system.formats.items() if isinstance(row.render, Refusal)]
    if system.marks:
        assert system.format == quoted(first[1])[0]
        assert (system.masks is None) == (first[3] == "nothing")
    if system.formats:
        own = {*system.formats} - {*refused}
        assert own - {system.format} == {form for row in more for form in quoted(row[1])}
    said = " ".join(cell for row in (first, *more) for cell in row[1:3] if "refused" in cell)
    assert set(refused) <= set(quoted(said))


def test_the_table_of_ci_systems_has_no_other_formats() -> None:
    named = {name for row in rows("In a CI system") for cell in row[1:3] for name in quoted(cell)}
    assert named & all_formats().keys() == all_formats().keys() - GENERIC.keys() | {"posix", "direnv"}


@each_row("name", ["posix", "fish", "nushell", "powershell", "cmd"])
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
