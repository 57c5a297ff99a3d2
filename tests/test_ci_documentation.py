"""What docs/ci.md shows is what the parts take."""

from __future__ import annotations

import re
from typing import Any

import yaml

from astro_token.ci import all_systems
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "ci.md").read_text()


def block(heading: str) -> Any:
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0])


def test_the_action_takes_what_is_given_to_it() -> None:
    step = block("GitHub Actions")["steps"][1]
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    assert set() == step["with"].keys() - inputs.keys()
    assert not [name for name, one in inputs.items() if one["required"] and name not in step["with"]]


def test_all_hooks_are_shown_and_no_other() -> None:
    (repository,) = block("pre-commit")["repos"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == [hook["id"] for hook in repository["hooks"]]


def test_every_system_that_there_are_examples_for_is_listed() -> None:
    linked = set(re.findall(r"\]\(\.\./examples/ci/([a-z-]+)\)", TEXT))
    folders = {path.name for path in (ROOT / "examples" / "ci").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == linked


def test_each_system_of_the_table_has_a_record() -> None:
    table = TEXT.partition("| system |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    named = {name for cell in cells[:-1] for name in cell.split(", ")}
    assert set() == named - {
        alias for system in all_systems() for alias in (system.name, system.name.removesuffix(" CI"))
    }
    # All but those without an example.
    keys = {system.key for system in all_systems() if {system.name, system.name.removesuffix(" CI")} & named}
    assert {"teamcity", "cloudbuild", "travis", "tekton"} == {s.key for s in all_systems()} - keys
