"""The table of pyproject.toml that makes a folder a project of Astro CLI 2.0, and where its names lead."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from astro_token.deploy.project_layout import Layout, layout_of, major_of
from astro_token.environment.cli_config import manifest_problems, refuse_unsafe
from astro_token.environment.manifest import find_manifest, read_manifest
from astro_token.errors import ConfigError
from tests.rows import each_row

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


@each_row(
    ("text", "understood"),
    [
        ("[tool.astro]\n", True),
        ("\ufeff[tool.astro]\r\n", True),
        ("tool = { astro = {} }\n", True),
        ('["tool"."\\u0061stro"]\n', True),
        ("[ tool . astro ]\n", True),
        ("['tool'.'astro']\n", True),
        ("[tool]\n'astro'.runtime = 'x'\n", True),
        ("tool.astro.runtime = 'x'\n", True),
        ("tool = {astro={}}\n", True),
        ("[tool.astro.deployments.astro-token]\n", True),
        ("[broken\n[tool.'ASTRO']\n", False),
        ("[tool.astro\udcff]\n", False),
        # A table with mistakes is one that the Astro CLI reports.
        ("[tool]\nastro = 3\n", True),
        ('[tool.astro]\nworkspace = 3\ndeployments = ["x"]\n', True),
        ("[tool.astro.deployments]\nprod = 1\n", True),
        ("[tool.astro]\n[broken\n", False),
        ('["tool"."\\u0061stro"]\n[broken\n', False),
        (f"[tool.astro]\n#{'x' * 300_000}\n", False),
        (f"[tool.astro]\n{'a.' * 300}a = 1\n", False),
        ("[tool.astro]\nname = '\udcff'\n", False),
        # The Astro CLI compares these names without their case, merges tables, and reads TOML 1.1.
        ("[TOOL.Astro]\n", False),
        ("[tool.astro]\n[tool.ASTRO.deployments]\n", False),
        ("[tool.astro]\n[Tool.astro]\n", False),
        ("[[tool]]\n[tool.astro]\n", False),
        ("[tool.astro]\nDomain = 'x'\n", False),
        ("[tool.astro.deployments.a]\nURL = 'x'\n", False),
        ("[tool.astro.deployments.a]\nauth = { Method = 'astro' }\n", False),
        ("[tool.astro]\nUnknown = 'x'\n", True),
        ("[tool]\nastro = {\n}\n", False),
        ('["tool"."\\x61stro"]\n', False),
        ('[tool."a\u017ftro"]\n', False),
        ('[tool.astro."deployment\u017f".a]\n', False),
        (f"#{'x' * 300_000}\n[tool.astro]\n", False),
        (f"#{'x' * 5_000_000}\n", False),
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


@each_row(
    "text",
    [
        f"#{'x' * 300_000}\n",
        "[project]\ndependencies = ['astroid', 'astro-token', 'my-astro', 'my_astro']\n",
        # Not parsed: neither contains the key.
        "[broken\n[tool.astro-token]\n[tool.astro_token]\n[tool.astronomer]\n[tool.my-ASTRO]\n[tool.1astro]\n",
        "",
        "[tool.ruff]\n",
        "[tool.astro-token]\n",
        "[broken\n",
        "tool = 3\n",
    ],
)
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


def test_a_link_has_other_folders_above_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "above").mkdir()
    link = tmp_path / "above" / "link"
    link.symlink_to(tmp_path / "real")
    (tmp_path / "above" / "pyproject.toml").write_text("[tool.astro]\nworkspace = 'x'\ndomain = 'evil'\n")
    here = tmp_path / "real"
    refuse_unsafe(here, {"PWD": str(here)})
    refuse_unsafe(here, {"PWD": str(tmp_path / "above")})  # left over from another folder
    with pytest.raises(ConfigError, match=r"tool\.astro\.domain decides"):
        refuse_unsafe(here, {"PWD": str(link)})


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


@each_row(
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


VALID = """
[tool.astro]
workspace = "clws0"
organization = "clorg0"
runtime = "3.3-8"
packages = ["libpq-dev"]
[tool.astro.env]
ANY = {}
[tool.astro.pools]
etl = { slots = 4 }
[tool.astro.targets.mwaa]
region = "x"
[tool.astro.deployments.prod]
deployment = "cldep0"
default = true
[tool.astro.deployments.mwaa]
target = "mwaa"
environment = "x"
[tool.astro.deployments.own]
url = "https://airflow.example"
auth = { method = "basic", username-env = "A", password-env = "B" }
[tool.ruff]
workspace = 3
"""


def mistakes(folder: Path, text: str) -> list[str]:
    (folder / "pyproject.toml").write_text(text)
    manifest = read_manifest(folder)
    assert manifest is not None
    return [f"{key} {reason}" for key, reason in manifest.mistakes]


@each_row(
    ("old", "new", "expected"),
    [
        ("", "", ""),
        ('workspace = "clws0"\n', 'workspace = ""\n', ".workspace is not a text, or empty"),
        ('workspace = "clws0"', "airflow = '3.1'", ".airflow is no longer read"),
        ('workspace = "clws0"\n', "", ".organization needs a workspace"),
        ('workspace = "clws0"\n', "", ".deployments.prod names no workspace"),
        ("packages = ", "package = ", ".package is an unknown key"),
        ("packages = ", '"a b" = ', ".… is an unknown key"),
        ('["libpq-dev"]', "'libpq-dev'", ".packages is not a list of texts"),
        ("slots", "slot", ".pools.etl.slot is an unknown key"),
        ("default = true", "defualt = true", ".deployments.prod.defualt is an unknown key"),
        ("default = true", "default = 1", ".deployments.prod.default is neither true nor false"),
        ("deployments.prod", "deployments.local", ".deployments.local is a name that no link can have"),
        ('deployment = "cldep0"', 'environment = "x"', ".deployments.prod names no deployment"),
        ('target = "mwaa"', 'target = "MWAA"', ".deployments.mwaa.target is none of astro, mwaa, composer"),
        (
            'environment = "x"\n',
            'environment = "x"\ndefault = true\n',
            ".deployments has more than one",
        ),
        ('environment = "x"\n', 'workspace = "x"\n', ".deployments.mwaa has a deployment or a workspace"),
        ('url = "https', 'deployment = "x"\nurl = "https', ".deployments.own has a url, and a deployment"),
        ('method = "basic"', 'method = "oauth"', ".deployments.own.auth.method is none of"),
        (
            "username-env",
            "token-env",
            ".deployments.own.auth.token-env is an unknown key",
        ),
    ],
)
def test_mistakes_are_those_of_the_astro_cli(tmp_path: Path, old: str, new: str, expected: str) -> None:
    said = mistakes(tmp_path, VALID.replace(old, new))
    assert bool(expected) is bool(said)
    assert not expected or any(each.startswith(f"tool.astro{expected}") for each in said)


def test_a_domain_needs_something_to_be_used_for(tmp_path: Path) -> None:
    text = "[tool.astro]\ndomain = 'astronomer.io'\n"
    assert ["tool.astro.domain needs a workspace, or a link to Astro"] == mistakes(tmp_path, text)
    link = "[tool.astro.deployments.a]\ndeployment = 'x'\nworkspace = 'y'\n"
    assert [] == mistakes(tmp_path, text + link)


@each_row(
    ("environment", "domain", "is_safe"),
    [
        ("", "astronomer.io", True),
        ("", " HTTPS://cloud.Astronomer.io/ ", True),
        ("", "astronomer.io.", False),
        ("", "astronomer.io@evil.example", False),
        ("", "localhost", False),
        ("localhost", "localhost", True),
        ("cloud.astronomer-dev.io", "astronomer-dev.io", True),
        ("astronomer-dev.io", "astronomer.io", False),
    ],
)
def test_only_the_domain_of_the_environment_is_safe(
    tmp_path: Path, environment: str, domain: str, is_safe: bool
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.astro]\nworkspace = 'x'\ndomain = '{domain}'\n")
    manifest = find_manifest(tmp_path / "below" / "it")
    assert manifest is not None
    problems = manifest_problems(manifest, {"ASTRO_DOMAIN": environment})
    assert ([] if is_safe else ["other-api"]) == [problem.code for problem in problems]
    with nullcontext() if is_safe else pytest.raises(ConfigError, match=r"tool\.astro\.domain decides"):
        refuse_unsafe(tmp_path, {"ASTRO_DOMAIN": environment})
