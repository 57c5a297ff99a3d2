"""The links, anchors and code of every Markdown document."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.conftest import ROOT
from tests.documents import DOCUMENTS, FENCE, anchors, broken_links, links

if TYPE_CHECKING:
    from pathlib import Path

by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@by_name
def test_no_link_is_broken(document: Path) -> None:
    assert [] == broken_links(document, document.read_text(encoding="utf-8"))


@by_name
def test_code_is_what_its_language_says(document: Path) -> None:
    for _, language, code in FENCE.findall(document.read_text(encoding="utf-8")):
        if language == "python":
            ast.parse(code)
        elif language == "toml":
            tomllib.loads(code)
        elif language == "json":
            json.loads(code)
        elif language == "yaml":
            list(yaml.compose_all(code, yaml.SafeLoader))  # tags of other programs are theirs
        else:
            assert language in {"console", "sh", "text", "hcl", "groovy", "diff", ""}, language


@by_name
def test_a_list_or_table_begins_after_an_empty_line(document: Path) -> None:
    """GitHub does not need the empty line; the site shows the list as a part of the paragraph without it."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    assert [] == re.findall(r"^(?![-*+|#>]|\d+\.|\s|$).*\n(?:[-*+] |\d+\. |\| ).*", text, re.MULTILINE)


def test_every_named_test_exists() -> None:
    named: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for name, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
            named.setdefault(name, set()).add(test)
    missing = {
        f"{name}::{test}"
        for name, tests in named.items()
        for test in tests
        - set(re.findall(r"^def (test_\w+)\(", (ROOT / name).read_text(), re.MULTILINE))
        - {""}
    }
    assert set() == missing
    assert sum(map(len, named.values())) >= 40


def test_every_threat_has_a_proof() -> None:
    text = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    proofs = [cells[2] for cells in rows if cells[0].strip() != "threat"]
    assert len(proofs) >= 30
    assert [] == [proof for proof in proofs if "::test_" not in proof]


def test_the_checks_notice_what_is_wrong() -> None:
    document = ROOT / "docs" / "sample.md"
    text = """\
# A `title`, of two
## Same
## Same
[good](check.md#policy) [good](#same-1) [good](#a-title-of-two) ![good](check.svg)
[bad](none.md) [bad](check.md#none) [bad](#same-2) [bad](../../outside) [bad](http://example.com)
`[code](none.md)`
```text
[code](none.md)
# no heading
```
"""
    assert {"a-title-of-two", "same", "same-1"} == anchors(text)
    assert 9 == len(list(links(text)))
    assert ["none.md", "check.md#none", "#same-2", "../../outside", "http://example.com"] == broken_links(
        document, text
    )
