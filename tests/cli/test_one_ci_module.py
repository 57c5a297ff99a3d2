"""A CI system is one module: with it, everything that depends on the system works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.servers.jwks import Issuer, ec_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program

MODULE = '''
"""A system that exists in this test only."""

from astro_token.ci.system import CISystem
from astro_token.formats import ExportFormat


def identity(environ, system):
    from astro_token.identity import IdentityRequest, NoIdentity
    from astro_token.identity.stored import token_in_variable

    if environ.get("LOOM_JOB_TOKEN"):
        return IdentityRequest("Loom", lambda *_: token_in_variable("LOOM_JOB_TOKEN", environ))
    return NoIdentity("Loom", "weave `identity: true`") if system else None


def render(variables):
    from astro_token.formats.rendering import Rendering

    lines = [f"weft {name} {text}\\n" for name, text in variables.set.items()]
    return Rendering("".join(lines), then="weave on")


def masks(values):
    from astro_token.formats.rendering import Rendering

    return Rendering("".join(f"hide {text}\\n" for text in values), "log")


def annotate(level, code, message, hint):
    return f"knot {level} {code} {message} {hint}"


def add_summary(data, status, environ):
    with open(environ["LOOM_SUMMARY"], "ab") as file:
        file.write(data)
    return f"the cloth ({status})"


SYSTEMS = (
    CISystem(
        "Loom",
        "loom",
        {"LOOM": "true"},
        format="loom",
        formats={"loom": ExportFormat(render, exclusive=True, aliases=("weaver",))},
        masks=masks,
        identity=identity,
        identity_variables=("LOOM_JOB_TOKEN",),
        identity_suffix="_THREAD",
        annotate=annotate,
        add_summary=add_summary,
    ),
)
'''
RUN = """
import sys, astro_token.ci
astro_token.ci.__path__.append(sys.argv.pop(1))
from astro_token.cli import main
sys.exit(main(sys.argv[1:]))
"""
NAMES = """
import astro_token.ci, json
print(json.dumps([system.name for system in astro_token.ci.all_systems()]))
"""


@pytest.fixture
def loom(tmp_path: Path) -> Path:
    folder = tmp_path / "loom"
    folder.mkdir()
    (folder / "loom.py").write_text(MODULE)
    return folder


def run(
    program: Program, loom: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(loom), *arguments],
        env=program.environment({"LOOM": "true", **(env or {})}),
        cwd=program.work,
        capture_output=True,
        text=True,
    )


def test_export_detects_the_system_and_masks_the_token(
    program: Program, prod: str, canary: str, loom: Path
) -> None:
    done = run(program, loom, "export", prod)
    # Both are commands of the system, so they are on one stream.
    assert (0, f"hide {canary}\nweft ASTRO_API_TOKEN {canary}\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    done = run(program, loom, "export", "--format", "json", prod)
    assert (0, f"hide {canary}\n") == (done.returncode, done.stderr)
    done = run(program, loom, "export", "--explain")
    assert "system:  Loom, detected by LOOM\nformat:  loom\n" in done.stdout


def test_its_format_is_offered_and_refused_elsewhere(program: Program, prod: str, loom: Path) -> None:
    done = run(program, loom, "export", "--format", "weaver", prod)
    assert (64, True) == (done.returncode, "did you mean loom?" in done.stderr)
    done = run(program, loom, "export", "--format", "loom", prod, env={"LOOM": ""})
    assert (73, True) == (done.returncode, "the loom format is only for jobs of Loom" in done.stderr)
    assert " loom" in run(program, loom, "export", "--help").stdout


def test_its_identity_is_used_and_kept_from_the_command(program: Program, prod: str, loom: Path) -> None:
    with Issuer(ec_key()) as issuer:
        token = issuer.mint({"aud": "vault"})
    env = {"LOOM_JOB_TOKEN": token, "COPY": token, "OTHER_THREAD": "x", "KEPT": "y"}
    done = run(program, loom, "exec", prod, "--", "env", env=env)
    shown = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert (0, "y", set()) == (done.returncode, shown["KEPT"], shown.keys() & (env.keys() - {"KEPT"}))
    done = run(program, loom, "doctor", "--format", "json", prod, env=env)
    rows = {row["link"]: row for row in json.loads(done.stdout)["links"]}
    assert ("Loom, detected by LOOM", "of Loom") == (rows["ci"]["found"], rows["identity"]["found"])
    done = run(program, loom, "doctor", "--format", "json", prod)
    rows = {row["link"]: row for row in json.loads(done.stdout)["links"]}
    assert "weave `identity: true`" == rows["identity"]["hint"]
    script = (
        "import os, sys, astro_token.ci; astro_token.ci.__path__.append(sys.argv[1])\n"
        "from astro_token.ci.identity import ci_identity, identity_source\n"
        "print(ci_identity('vault', timeout=5).reveal().decode(), identity_source(os.environ))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(loom)],
        env=program.environment(env),
        capture_output=True,
        text=True,
    )
    assert f"{token} the identity of Loom\n" == done.stdout


def test_check_annotates_and_adds_a_summary(program: Program, prod: str, loom: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    env = {"LOOM_SUMMARY": str(summary)}
    done = run(program, loom, "check", "--format", "markdown", "planted:lost", env=env)
    assert 66 == done.returncode
    assert "\nknot error  planted:lost: no such secret " in done.stderr
    assert "to the cloth (failed)\n" in done.stderr
    assert done.stdout == summary.read_text()


def test_the_systems_are_found_in_a_zip_file_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as app:
        for path in (ROOT / "core" / "astro_token").rglob("*.py"):
            app.write(path, path.relative_to(ROOT / "core"))
    names = [
        json.loads(
            subprocess.run(
                [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(path)!r}){NAMES}"],
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for path in (ROOT / "core", tmp_path / "app.zip")
    ]
    assert names[0] == names[1]
    assert {"GitHub Actions", "Tekton"} < set(names[0])


def test_detection_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import os, typing; before = set(sys.modules)\n"
        "from astro_token.ci import in_ci, identity_copies\n"
        "in_ci({}), identity_copies({})\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT / "core")],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    others = {name for name in loaded if not name.startswith("astro_token.ci")}
    # importlib and warnings belong to import_module.
    assert {"astro_token", "astro_token.formats", "astro_token.record"} <= others
    assert not others & {"re", "json", "pathlib", "dataclasses", "logging", "threading", "secrets", "pkgutil"}
    parts = {name for name in others if name.startswith(("astro_token.formats.", "astro_token.identity."))}
    assert {"astro_token.formats.rendering"} == parts
