"""What the documents show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from astro_token import errors
from astro_token.environment.export import DEAD_VARIABLES
from astro_token.policy.rules import RULES
from astro_token.secrets.admin import ADMIN_VARIABLE
from astro_token.secrets.schemes import BUILTIN, credential_variables
from tests.cli.test_init import git
from tests.conftest import PROGRAM, ROOT, Program
from tests.console import matches, sessions, without_old_lines
from tests.documents import DOCUMENTS
from tests.rows import each_row
from tests.servers.astro_api import Grant, organization, workspace
from tests.servers.openbao import OpenBao

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.astro_api import AstroApi

README = (ROOT / "README.md").read_text()
EXIT_CODES = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()


def test_the_comparison_notices_a_difference() -> None:
    assert matches("a  …  b\n", "a 1\n2 b\n")
    assert not matches("a\n", "b\n")
    assert not matches("a\n", "a\nb\n")


def test_the_sessions_of_the_readme(program: Program, canary: str, astro_api: AstroApi) -> None:
    with OpenBao() as openbao:  # of its own, for the versions that are shown
        run_sessions(program, canary, openbao, astro_api)


def run_sessions(program: Program, canary: str, openbao: OpenBao, astro_api: AstroApi) -> None:
    (program.work / "token.txt").write_text(canary + "\n")
    settings = program.home / ".astro" / "config.yaml"
    settings.parent.mkdir()
    settings.write_text(f"local:\n  core: {astro_api.url}\n")
    org, ws = "clorg0000000000000000", "clws00000000000000000"  # those of a canary
    astro_api.organizations, astro_api.workspaces = [organization(org)], [workspace(ws, org=org)]
    astro_api.accept(canary, Grant(org, frozenset({ws})))
    environ = program.environment({"VAULT_ADDR": openbao.address, "VAULT_TOKEN": openbao.root_token})
    environ["ASTRO_DOMAIN"] = "localhost"
    environ["PATH"] = f"{PROGRAM.parent}:{ROOT / 'tests' / 'programs'}:{environ['PATH']}"
    git(program.work, "init", "-q", "-b", "main")
    git(program.work, "remote", "add", "origin", "git@github.com:acme/dags.git")
    shown = sessions(README)
    assert len(shown) >= 7
    (invent,) = re.findall(r"`(python -c '[^`]+') > token\.txt`", README)
    done = subprocess.run(["bash", "-c", invent], env=environ, capture_output=True, text=True, check=True)
    assert 2 == done.stdout.count(".")
    for command, output in shown:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=program.work,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout)
        assert matches(output, done.stdout), (command, done.stdout)


def test_the_documented_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", EXIT_CODES, re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(",")}
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    raised = {kind.exit_code for kind in kinds if kind is not errors.CommandError}
    assert {0, errors.RotationError.PERSON_NEEDED, 126, 127, *raised} == documented


def test_the_documented_order_of_exit_codes_is_that_of_their_severity() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    severity = {kind.exit_code: kind.severity for kind in kinds if kind is not errors.CommandError}
    order = re.search(r"in this order:\s([\d, ]+)\.", EXIT_CODES)
    assert order is not None
    documented = [int(code) for code in order[1].split(",")]
    person = errors.RotationError.PERSON_NEEDED
    assert [person, *sorted(severity, key=lambda code: -severity[code])] == documented
    assert person == errors.worst(documented)


def test_the_backends_of_the_readme_are_those_there_are() -> None:
    table = README.partition("## Backends")[2].partition("## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([a-z, -]+) \|$", table, re.MULTILINE)
    documented = {scheme: {ability.strip() for ability in can.split(",")} for scheme, can in rows}
    done = subprocess.run([str(PROGRAM), "backends", "--format", "json"], capture_output=True, check=True)
    import json

    real = {row["scheme"]: set(row["can"]) for row in json.loads(done.stdout)["backends"]}
    assert real == documented


def test_documents_show_no_assignment_that_hides_a_failure() -> None:
    for document in DOCUMENTS:
        for line in without_old_lines(document.read_text()).splitlines():
            assert not re.search(r"export \w+=\"?\$\(", line), line
            assert not re.search(r"^\s*eval \"?\$\(astro-token", line), line


@each_row("document", DOCUMENTS, ids=lambda path: path.name)
def test_variables_that_documents_name_are_read_by_the_code(document: Path) -> None:
    code = "\n".join(
        path.read_text() for root in ("core", "backends") for path in (ROOT / root).rglob("*.py")
    )
    for name in set(
        re.findall(r"\b(?:ASTRO_TOKEN|VAULT)_[A-Z_]+\b", without_old_lines(document.read_text()))
    ):
        prefix = "ASTRO_TOKEN_POLICY_"
        assert name in code or (name.startswith(prefix) and name.removeprefix(prefix).lower() in RULES), name


def test_examples_of_schemes_are_references() -> None:
    from astro_token import SecretRef

    for name, scheme in BUILTIN.items():
        assert SecretRef.parse(scheme.example).scheme == name


def test_the_demo_runs(program: Program) -> None:
    environ = program.environment()
    environ["PATH"] = f"{PROGRAM.parent}:{sys.prefix}/bin:{environ['PATH']}"
    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "demo.sh")], env=environ, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
    assert "the private home is gone" in done.stdout


def test_the_variables_that_exec_drops_are_documented() -> None:
    table = (ROOT / "docs" / "exec.md").read_text().partition("|---|---|")[2].partition("\n\n")[0]
    # Two of Azure Pipelines' are in letters of both cases; the names of schemes stand in the first column.
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+|[a-z]+[A-Z][A-Za-z]+)`", table))
    assert credential_variables() | DEAD_VARIABLES | {ADMIN_VARIABLE} == documented
