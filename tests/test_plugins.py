"""A backend from a distribution of its own, as somebody else would write it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from astro_token import InvalidRefError, SecretRef, SecretValue
from astro_token.testing import BackendContract, Harness
from tests.conftest import ROOT, Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from astro_token.secrets.protocols import Backend

PLUGIN = ROOT / "examples" / "plugin"


def distribution(site: Path, name: str, entry_point: str) -> None:
    """Write the metadata of an installed distribution with one backend."""
    metadata = site / f"{name.replace('-', '_')}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[astro_token.backends]\n{entry_point}\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("plugin")
    source = target / "source"
    shutil.copytree(PLUGIN, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target / "site"), str(source)], check=True)
    return target / "site"


@pytest.fixture
def database(program: Program, canary: str) -> Path:
    file = program.work / "tokens.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE secrets (name, value, version)")
        connection.execute("INSERT INTO secrets VALUES ('prod', ?, 7)", [canary])
    connection.close()
    return file


def with_plugin(installed: Path, **more: str) -> Mapping[str, str]:
    return {"PYTHONPATH": str(installed), "ASTRO_TOKEN_PLUGINS": "astro-token-sqlite", **more}


def test_it_is_used_once_the_environment_names_its_distribution(
    program: Program, installed: Path, database: Path, canary: str
) -> None:
    result = program(
        "export", "--format", "value", f"sqlite:{database}/prod",
        env=with_plugin(installed), allowed=["stdout", database],
    )  # fmt: skip
    assert (0, canary, "") == (result.code, result.stdout, result.stderr)


def test_without_that_it_is_not_imported(program: Program, installed: Path, database: Path) -> None:
    marker = program.work / "imported"
    module = installed / "astro_token_sqlite.py"
    original = module.read_text()
    module.write_text(f"open({str(marker)!r}, 'w').close()\n" + original)
    try:
        refused = program(
            "check", f"sqlite:{database}/prod", env={"PYTHONPATH": str(installed)}, allowed=[database]
        )
        assert not marker.exists()
        listed = program("backends", env=with_plugin(installed), allowed=[database])
        assert not marker.exists(), "listing must not import"
        used = program("check", f"sqlite:{database}/prod", env=with_plugin(installed), allowed=[database])
        assert marker.exists(), "the marker must work"
    finally:
        module.write_text(original)
    assert (78, 0, 0) == (refused.code, listed.code, used.code)
    assert "no backend serves this scheme" in refused.stderr
    assert "sqlite" in listed.stdout


def test_a_missing_name_ends_as_with_any_backend(program: Program, installed: Path, database: Path) -> None:
    result = program("check", f"sqlite:{database}/nothing", env=with_plugin(installed), allowed=[database])
    assert result.code == 66


def test_a_distribution_that_is_not_installed_is_an_error(program: Program) -> None:
    result = program("check", "sqlite:x/y", env={"ASTRO_TOKEN_PLUGINS": "astro-token-sqlite"})
    assert result.code == 78
    assert "is not installed or has no backend" in result.stderr


@pytest.mark.parametrize(
    ("scheme", "complaint"),
    [("vault", "claims the reserved scheme vault"), ("sqlite", "two plugins claim the scheme sqlite")],
)
def test_a_scheme_cannot_be_taken_from_another(
    program: Program, installed: Path, database: Path, tmp_path: Path, scheme: str, complaint: str
) -> None:
    distribution(tmp_path / "site", "other", f"{scheme} = astro_token_sqlite:Sqlite")
    both = {"PYTHONPATH": f"{installed}{os.pathsep}{tmp_path / 'site'}"}
    both["ASTRO_TOKEN_PLUGINS"] = "astro-token-sqlite,other"
    result = program("check", f"sqlite:{database}/prod", env=both, allowed=[database])
    assert result.code == 78
    assert complaint in result.stderr


def test_it_passes_the_contract(installed: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--override-ini",
        "pythonpath=",
        # In the shared folder, this short session would remove what long ones have left there.
        f"--basetemp={tmp_path / 'base'}",
    ]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", os.devnull, str(PLUGIN / "test_astro_token_sqlite.py")],
        env=environ, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    tests = [name for name in dir(BackendContract) if name.startswith("test_")]
    assert f"{len(tests)} passed" in done.stdout, done.stdout + done.stderr


class Ignoring:
    """A backend that ignores the options of its references."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        assert timeout
        return SecretValue(ref.name.encode())


class Refusing(Ignoring):
    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        if ref.options:
            raise InvalidRefError(f"{ref}: refusing takes no options")
        return super().read(ref, timeout=timeout)


def test_the_contract_fails_a_backend_that_ignores_unknown_options() -> None:
    def check(backend: Backend) -> None:
        harness = Harness(backend, store=lambda _: None, present="mine:a", missing="mine:b")
        BackendContract().test_an_unknown_option_is_refused(harness)

    check(Refusing())
    with pytest.raises(AssertionError, match="an unknown option was ignored"):
        check(Ignoring())


def test_the_example_is_about_twenty_lines() -> None:
    lines = (PLUGIN / "astro_token_sqlite.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 27


def test_a_plugin_that_ends_the_program_does_not_make_a_job_green(program: Program, tmp_path: Path) -> None:
    site = tmp_path / "site"
    distribution(site, "astro-token-sqlite", "sqlite = ending:make")
    (site / "ending.py").write_text("raise SystemExit(0)\n")
    result = program("exec", "sqlite:a/b", "--", "echo", "ran", env=with_plugin(site))
    assert (70, "") == (result.code, result.stdout)
    assert "the backend for sqlite failed to start with SystemExit" in result.stderr


@pytest.mark.parametrize("hanging", ["import", "factory"])
@pytest.mark.parametrize(
    "command",
    [["exec", "slow:a", "--", "echo", "ran"], ["check", "slow:a"], ["doctor", "--offline", "slow:a"]],
)
def test_a_plugin_that_hangs_is_not_waited_for_and_is_named(
    program: Program, tmp_path: Path, command: list[str], hanging: str
) -> None:
    site = tmp_path / "site"
    distribution(site, "slow-plugin", "slow = slow_plugin:make")
    code = {
        "import": "import time; time.sleep(600)\n",
        "factory": "def make():\n    import time; time.sleep(600)\n",
    }
    (site / "slow_plugin.py").write_text(code[hanging])
    environ = {"PYTHONPATH": str(site), "ASTRO_TOKEN_PLUGINS": "slow-plugin", "ASTRO_TOKEN_TIMEOUT": "1"}
    start = time.monotonic()
    result = program(*command, env=environ)
    assert time.monotonic() - start < 30
    output = result.stdout + result.stderr
    assert (75, True, False) == (
        result.code,
        "the plugin slow-plugin: no answer within" in output,
        "ran" in result.stdout.split(),
    )
