"""The picture in the README is what its script makes now, and shows itself without fetching anything."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = ROOT / "docs" / "check.svg"
NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_it_is_what_the_script_makes(tmp_path: Path) -> None:
    file = tmp_path / "check.svg"
    subprocess.run([sys.executable, str(ROOT / ".ci" / "picture.py"), str(file)], cwd=tmp_path, check=True)
    assert file.read_text() == PICTURE.read_text(), "run `make picture`"


def test_it_fetches_nothing_and_runs_nothing() -> None:
    text = PICTURE.read_text()
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"\w+://[^\"' )]*", text), "the name of the format"
    kinds = {element.tag.removeprefix(NAMESPACE) for element in ET.parse(PICTURE).getroot().iter()}  # noqa: S314
    assert kinds <= {"svg", "title", "style", "defs", "clipPath", "rect", "g", "text", "circle"}
    assert set() == {"@import", "@font-face", "href", "url(h"} & set(
        re.findall(r"@[a-z-]+|href|url\(h", text)
    )


def test_it_shows_the_table_at_80_columns_and_is_in_the_readme() -> None:
    root = ET.parse(PICTURE).getroot()  # noqa: S314
    lines: dict[str, str] = {}
    for text in root.iter(f"{NAMESPACE}text"):
        if "clip-path" in text.attrib:
            lines[text.attrib["clip-path"]] = lines.get(text.attrib["clip-path"], "") + (
                text.text or ""
            ).rstrip("\n")
    shown = [line.replace("\xa0", " ").rstrip() for line in lines.values()]
    assert "TOKEN    SCOPE         EXPIRES                 VERDICT" == shown[1]
    assert "VERDICT       ok" == shown[-1]
    assert max(map(len, shown)) <= 80
    assert "](docs/check.svg)" in (ROOT / "README.md").read_text()
