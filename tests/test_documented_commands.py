"""The commands and comparisons that documents show, parsed as `astro-token` and the CI systems parse them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from astro_token import SecretRef
from astro_token.cli.parser import parse
from astro_token.errors import UsageError
from tests.conftest import ROOT
from tests.console import after, before, commands, without_old_lines
from tests.documents import DOCUMENTS, FENCE
from tests.schemas import assert_schema
from tests.test_examples import SYSTEMS

if TYPE_CHECKING:
    from pathlib import Path

MOVING = (ROOT / "docs" / "moving.md").read_text()
README = (ROOT / "README.md").read_text()
DIFFS = [code for text in (MOVING, README) for _, language, code in FENCE.findall(text) if language == "diff"]
# The most lines of a page, by folder.
LENGTHS = {"tutorials": 70, "how-to": 50}


def test_every_command_in_the_documents_parses() -> None:
    count = 0
    for document in DOCUMENTS:
        for words in commands(document.read_text(encoding="utf-8")):
            try:
                parse(words)
            except (UsageError, SystemExit) as error:
                pytest.fail(f"{document.relative_to(ROOT)}: astro-token {' '.join(words)}: {error}")
            count += 1
    assert count > 200


def test_the_search_finds_commands_and_their_words() -> None:
    text = """\
`astro-token` and `astro-token check --bad # a comment`
```sh
out="$(astro-token export --format posix 'vault:a/b#c')" && astro-token put x \\
  --decrypt y < token.txt
PATH=astro-token other
```
```diff
-astro-token none
+ astro-token doctor
```
"""
    assert sorted(commands(text)) == [
        ["check", "--bad"],
        ["doctor"],
        ["export", "--format", "posix", "vault:a/b#c"],
        ["put", "x", "--decrypt", "y"],
    ]
    with pytest.raises(UsageError):
        parse(["check", "--bad"])


def test_an_installation_from_an_index_is_not_documented() -> None:
    """Nobody knows what has the name there until there is a release: one source, in one form."""
    form = re.compile(
        r"'(?:astro-token(?:\[[a-z,-]+\])? @ git\+https://\S+/astro-token@COMMIT|\.(?:/astro-token)?\[[a-z,-]+\])'"
    )
    count = 0
    for document in DOCUMENTS:
        if document.name == "CHANGELOG.md":
            continue
        for line in document.read_text(encoding="utf-8").splitlines():
            for argument in re.findall(r"\b(?:pip|pipx|uv tool) install (?!-)(\S.*)", line):
                if re.match(r"'?(?:astro|\.)", argument):
                    assert form.match(argument), f"{document.name}: {line}"
                    count += 1
    assert count > len(LENGTHS)


@pytest.mark.parametrize("folder", LENGTHS)
def test_pages_are_short(folder: str) -> None:
    pages = sorted((ROOT / "docs" / folder).glob("*.md"))
    assert len(pages) >= 4
    long = [page.name for page in pages if len(page.read_text().splitlines()) > LENGTHS[folder]]
    assert [] == long


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


# -- comparisons ---------------------------------------------------------------------------------------------


def kinds() -> dict[str, list[Any]]:
    """The jobs and steps of the comparisons, on both sides, by system."""
    found: dict[str, list[Any]] = {"github": [], "gitlab": []}
    for side in [*map(before, DIFFS), *map(after, DIFFS)]:
        if side.startswith("["):  # a project file
            continue
        content = yaml.safe_load(side)
        if isinstance(content, list):
            found["github"].append(content)
        elif isinstance(content, dict) and "deploy" in content:
            found["gitlab"].append(content)
    return found


def test_each_comparison_replaces_lines() -> None:
    assert len(DIFFS) >= len(re.findall(r"^## From ", MOVING, re.MULTILINE)) >= 9
    for diff in DIFFS:
        assert {"-", "+"} <= {line[:1] for line in diff.splitlines()} <= {"-", "+", " "}, diff


@pytest.mark.long
@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_both_sides_keep_to_the_schema_of_their_system(tmp_path: Path, system: str) -> None:
    """GitLab's schema knows the keys of `secrets:`, GitHub's those of a step."""
    files = []
    for number, content in enumerate(kinds()[system]):
        if system == "github":
            job = {"runs-on": "ubuntu-latest", "steps": content}
            content = {"on": "push", "jobs": {"deploy": job}}  # noqa: PLW2901
        files.append(tmp_path / f"{number}.yml")
        files[-1].write_text(yaml.safe_dump(content))
    assert len(files) >= {"github": 10, "gitlab": 2}[system]
    assert_schema(str(SYSTEMS[system]), *files)


def test_our_action_is_used_as_it_is() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    own = [step for steps in kinds()["github"] for step in steps if "astro-token@" in step.get("uses", "")]
    assert len(own) >= 4
    for step in own:
        assert step["with"].keys() <= action["inputs"].keys()
        assert SecretRef.parse(step["with"]["token"]).scheme == step["with"]["extras"]


def test_every_reference_in_the_guide_parses() -> None:
    schemes = "vault|aws|aws-ssm|gcp|azure|file"
    found = set(re.findall(rf"`((?:{schemes}):[^`…\s]+)`", without_old_lines(MOVING)))
    assert len(found) >= 8
    for text in found:
        SecretRef.parse(text)
