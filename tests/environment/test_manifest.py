"""The table of pyproject.toml that makes a folder a project of Astro CLI 2.0, and where its names lead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from astro_token.deploy.project_layout import Layout, layout_of, major_of
from astro_token.environment.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

LINKS = """\
[project]
name = "demo"
[tool.astro]
workspace = "clws0"
[tool.astro.deployments.prod]
deployment = "cldep0prod"
[tool.astro.deployments.mwaa]
environment = "x"
[tool.astro.deployments]
inline = { deployment = "cldep0inline", workspace = "clws1" }
"""


def test_names_lead_to_deployments_and_everything_else_is_an_identifier(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(LINKS)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert ("clws0", True) == (manifest.workspace, manifest.names_workspace)
    names = {"prod": "cldep0prod", "inline": "cldep0inline", "mwaa": "mwaa", "cldep0other": "cldep0other"}
    assert names == {name: manifest.deployment(name) for name in names}
    assert "clws1" == manifest.links["inline"].workspace


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("[tool.astro]\n", True),
        ("\ufeff[tool.astro]\r\n", True),
        ("tool = { astro = {} }\n", True),
        ('["tool"."\\u0061stro"]\n', True),
        # A table with mistakes is one that the Astro CLI reports.
        ("[tool]\nastro = 3\n", True),
        ('[tool.astro]\nworkspace = 3\ndeployments = ["x"]\n', True),
        ("[tool.astro.deployments]\nprod = 1\n", True),
        ("[tool.astro]\n[broken\n", False),
        ('["tool"."\\u0061stro"]\n[broken\n', False),
        (f"[tool.astro]\n#{'x' * 300_000}\n", False),
        (f"[tool.astro]\n{'a.' * 300}a = 1\n", False),
        ("[tool.astro]\nname = '\udcff'\n", False),
    ],
)
def test_a_table_makes_a_project_also_if_the_file_is_not_understood(
    tmp_path: Path, text: str, understood: bool
) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text.encode(errors="surrogateescape"))
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert understood is manifest.understood
    assert (("prod" if understood else None), False) == (
        manifest.deployment("prod"),
        manifest.names_workspace,
    )


@pytest.mark.parametrize("text", ["", "[tool.ruff]\n", "[tool.astro-token]\n", "[broken\n", "tool = 3\n"])
def test_other_files_make_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert None is read_manifest(tmp_path)
    assert None is read_manifest(tmp_path / "nowhere")
    assert None is read_manifest(tmp_path / ("x" * 5000))


def test_what_is_no_file_is_not_understood_and_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert not manifest.understood


def test_a_folder_can_be_a_project_to_either_version_or_to_both(tmp_path: Path) -> None:
    assert frozenset() == layout_of(tmp_path, {}).majors
    (tmp_path / "pyproject.toml").write_text("[tool.astro]\n")
    assert {2} == layout_of(tmp_path, {}).majors
    (tmp_path / ".astro").mkdir()
    (tmp_path / ".astro" / "config.yaml").touch()
    assert {1, 2} == layout_of(tmp_path, {}).majors
    assert {2} == layout_of(tmp_path, {"HOME": str(tmp_path)}).majors
    (tmp_path / "pyproject.toml").unlink()
    assert {1} == layout_of(tmp_path, {}).majors


@pytest.mark.parametrize(
    ("majors", "version", "major"),
    [
        ({1}, "2.0.0", 1),
        ({2}, "1.45.0", 2),
        ({1, 2}, "1.45.0", 1),
        ({1, 2}, "2.0.0-beta.3", 2),
        ({1, 2}, "3.1.0", 2),
        ({1, 2}, "0.33.1", 1),
        ({1, 2}, "SNAPSHOT-1a2b", 1),
        ({1, 2}, None, 1),
        ((), "2.0.0", 2),
        ((), None, 1),
    ],
)
def test_the_installed_version_decides_only_for_a_project_to_both(
    majors: set[int], version: str | None, major: int
) -> None:
    assert major == Layout(frozenset(majors)).major(version)


def test_a_custom_build_has_no_major_version() -> None:
    assert [None, None, None, 1] == [major_of(version) for version in (None, "", "SNAPSHOT-1.2", "1.2")]
