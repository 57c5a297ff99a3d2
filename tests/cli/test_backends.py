"""`backends` and `--version`: what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import astro_token
from astro_token.secrets.schemes import BUILTIN
from tests.conftest import Result

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Planted
    from tests.conftest import Program

VAULT = {
    "scheme": "vault",
    "what": "HashiCorp Vault or OpenBao, KV 1 and 2",
    "form": "MOUNT/PATH",
    "example": "vault:secret/astro/prod#token",
    "options": ["kv", "namespace", "version"],
    "can": ["read", "describe", "write", "rotate"],
    "extra": "vault",
    "installed": True,
}
ENV = {
    "scheme": "env",
    "what": "an environment variable",
    "form": "VARIABLE",
    "example": "env:ASTRO_API_TOKEN",
    "options": [],
    "can": ["read"],
    "extra": None,
    "installed": True,
}
PLANTED = {
    "scheme": "planted",
    "what": "a plugin, planted:Planted",
    "form": "-",
    "example": None,
    "options": [],
    "can": ["read"],
    "extra": None,
    "installed": True,
}


def test_json_lists_what_is_built_and_what_it_can(program: Program) -> None:
    result = program("backends", "--format", "json")
    rows = {row["scheme"]: row for row in json.loads(result.stdout)["backends"]}
    assert (0, "", VAULT, ENV) == (result.code, result.stderr, rows["vault"], rows["env"])
    assert [name for name, scheme in BUILTIN.items() if scheme.backend] == list(rows)
    assert ["decrypt", "encrypt"] == rows["vault-transit"]["can"]
    assert ["read", "describe", "write", "rotate"] == rows["file"]["can"]


def test_the_table_names_each_on_a_line_of_its_own(program: Program) -> None:
    result = program("backends")
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert (0, "") == (result.code, result.stderr)
    assert ["SCHEME", *(name for name, scheme in BUILTIN.items() if scheme.backend)] == names


def test_a_plugin_is_listed_if_it_was_asked_for_and_is_not_imported(
    program: Program, planted: Planted
) -> None:
    """Its module would fail without PLANTED, and note that it was made."""
    result = program("backends", "--format", "json", env={"PLANTED": ""})
    assert (0, "", PLANTED, []) == (
        result.code,
        result.stderr,
        json.loads(result.stdout)["backends"][-1],
        planted.log,
    )
    result = program("backends", "--format", "json", env={"ASTRO_TOKEN_PLUGINS": ""})
    assert (0, False) == (result.code, "planted" in result.stdout)


NOT_THERE = (
    "astro-token: error: ASTRO_TOKEN_PLUGINS names a distribution that is not installed "
    "or has no backend: no-such-thing\n"
    "astro-token: hint: install it, or remove it from ASTRO_TOKEN_PLUGINS; separate names with commas\n"
)
CLAIMS = (
    "astro-token: error: a plugin claims the reserved scheme vault, "
    "which stays that of the built-in backend\n"
    "astro-token: hint: remove its distribution from ASTRO_TOKEN_PLUGINS, or ask its authors to rename it\n"
)


def test_a_plugin_that_is_not_there_is_a_mistake(program: Program) -> None:
    everything = program("backends").stdout
    expected = Result(78, everything, NOT_THERE)
    assert expected == program("backends", env={"ASTRO_TOKEN_PLUGINS": "no-such-thing"})


def test_the_faults_of_plugins_are_told_after_the_list(
    program: Program, planted: Planted, prod: str, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    info = site / "faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[astro_token.backends]\nvault = no:Module\nmore = no:Module\n")
    path = f"{program.environ['PYTHONPATH']}:{site}"
    environ = {"PYTHONPATH": path, "ASTRO_TOKEN_PLUGINS": "faulty,no-such-thing,planted"}
    for form in ("json", "table"):
        listed = program("backends", "--format", form, env=environ)
        assert (78, CLAIMS + NOT_THERE) == (listed.code, listed.stderr)
        assert [True] * 3 == [name in listed.stdout for name in ("vault", "more", "planted")]
    report = program("doctor", prod, "--offline", "--format", "json", env=environ)
    warnings = [
        f"astro-token: error: {link['found']}\nastro-token: hint: {link['hint']}\n"
        for link in json.loads(report.stdout)["links"]
        if (link["link"], link["state"]) == ("variables", "warning")
    ]
    assert ("", [CLAIMS, NOT_THERE]) == (report.stderr, warnings)
    assert Result(78, "", NOT_THERE) == program("exec", "other:a", "--", "true", env=environ)


def test_the_version_is_one_line(program: Program) -> None:
    expected = Result(0, f"astro-token {astro_token.__version__}\n", "")
    assert [expected, expected] == [program("--version"), program("--log-level", "debug", "--version")]
