"""A policy rule is one row: everything else is derived from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from astro_token.policy.codes import TOKEN
from astro_token.policy.rules import CODES, OFFLINE, RULES, Policy
from astro_token.testing import make_token
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ROW = """
    max_length: int | None = _rule(
        default=None,
        parse=lambda value, name: int(value),
        stricter=min,
        example="1000",
        doc="the greatest number of characters of a token",
        codes={"too-long": Code("error", "it is longer than `max_length`", "create a shorter one")},
        check=lambda case: [("too-long", "the token is too long", "create a shorter one")]
        if case.policy.max_length and len(case.token.secret.reveal()) > case.policy.max_length
        else [],
    )
"""


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the project with one row more, and nothing else."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("core", "backends", ".ci", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    rules = copy / "core" / "astro_token" / "policy" / "rules.py"
    before, mark, after = rules.read_text().partition("\n    def __hash__")
    rules.write_text(f"{before}{ROW}{mark}{after}")
    return copy


def run(copy: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(copy / name) for name in ("core", "backends"))
    base = {"PATH": os.environ["PATH"], "HOME": str(copy), "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**base, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def codes(copy: Path, **environ: str) -> list[str]:
    result = run(copy, "-m", "astro_token", "check", "--format", "json", **environ)
    return [verdict["code"] for verdict in json.loads(result.stdout)["tokens"][0]["verdicts"]]


def test_a_rule_is_one_row(changed: Path) -> None:
    token = make_token()
    least, most, variable = str(len(token) - 1), str(len(token)), "ASTRO_TOKEN_POLICY_MAX_LENGTH"
    file = changed / "astro-token.toml"
    file.touch(0o600)
    given = {"ASTRO_TOKEN_REF": "env:TOKEN", "TOKEN": token}
    assert [] == codes(changed, **given)
    for in_file, in_variable, expected in (
        (least, "", ["too-long"]),
        (most, "", []),
        ("", least, ["too-long"]),
        ("", most, []),
        (most, least, ["too-long"]),
        (least, most, ["too-long"]),
        (most, most, []),
    ):
        file.write_text(f"[policy]\nmax_length = {in_file}\n" if in_file else "")
        assert expected == codes(changed, **given, **{variable: in_variable})
    file.write_text("[policy]\nmax_lenght = 3\n")
    assert "did you mean max_length?" in run(changed, "-m", "astro_token", "check", **given).stderr
    file.unlink()
    unreachable = {"ASTRO_TOKEN_API_URL": "http://127.0.0.1:1", "ASTRO_TOKEN_POLICY_MAX_LENGHT": "3"}
    doctor = run(changed, "-m", "astro_token", "doctor", **given, **unreachable)
    assert variable in doctor.stdout + doctor.stderr
    assert 0 == run(changed, ".ci/tables.py").returncode
    document = json.loads((changed / "core" / "astro_token" / "schemas" / "check.json").read_text())
    assert "too-long" in document["$defs"]["verdict"]["properties"]["code"]["enum"]
    page = (changed / "docs" / "check.md").read_text()
    assert f"| `max_length` | `{variable}` | `1000` | the greatest number of characters of a token |" in page
    assert "| `too-long` | offline | error | it is longer than `max_length` | create a shorter one |" in page


def test_the_documents_and_the_schema_are_those_of_the_tables(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in (".ci", "docs"):
        shutil.copytree(ROOT / name, copy / name)
    (copy / "core" / "astro_token" / "schemas").mkdir(parents=True)
    schemas = [f"core/astro_token/schemas/{name}.json" for name in ("check", "audit")]
    for schema in schemas:
        shutil.copy(ROOT / schema, copy / schema)
    paths = os.pathsep.join(str(ROOT / name) for name in ("core", "backends"))
    environ = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, ".ci/tables.py"], cwd=copy, env=environ, check=True)
    for name in ("docs/check.md", "docs/check-deploy.md", "docs/audit.md", *schemas):
        assert (ROOT / name).read_text() == (copy / name).read_text(), "run `make tables`"


def test_every_row_is_complete_and_a_code_means_one_thing() -> None:
    own = [code for rule in RULES.values() for code in rule.codes]
    assert len(own) + len(TOKEN) == len(OFFLINE)
    for key, rule in RULES.items():
        assert key == rule.key
        assert rule.default == getattr(Policy(), key)
        assert (True, True, key in (Policy.__doc__ or "")) == (bool(rule.doc), bool(rule.example), True)
    for code in CODES.values():
        assert code.required is None or code.required in RULES
        assert code.meaning
        assert code.remedy
