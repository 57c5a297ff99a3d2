"""What is shipped is what is tested: the wheel, its files, its entry point, and life without any extra."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from astro_token.secrets.schemes import BUILTIN
from astro_token.version import __version__
from tests.conftest import ROOT, Program
from tests.installed import extra_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = Path(os.environ.get("ASTRO_TOKEN_TEST_CORE") or ROOT / ".venv-core")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a fresh environment with the wheel, and with the SDKs that the tests have."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", str(wheel)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    # Comes after the wheel on the path; what a .pth in that folder says, such as the checkout's, is not read.
    (site / "sdks.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "astro-token"


def shipped() -> Iterator[tuple[str, bytes]]:
    for root in (ROOT / "core", ROOT / "backends"):
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(root)), path.read_bytes()


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    archive, sources = zipfile.ZipFile(wheel), dict(shipped())
    names = set(archive.namelist())
    info = f"astro_token-{__version__}.dist-info"
    expected = {
        *sources,
        *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
    }
    assert {*expected, f"{info}/licenses/LICENSE"} == names
    assert sources == {name: archive.read(name) for name in sources}


def test_the_wheel_has_the_console_script(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"astro_token-{__version__}.dist-info/entry_points.txt").decode()
    assert text == "[console_scripts]\nastro-token = astro_token.cli:run\n"


def test_the_source_roots_are_no_packages(installed: Path) -> None:
    for name in ("core", "backends"):
        done = subprocess.run(
            [installed.parent / "python", "-c", f"import {name}"], capture_output=True, cwd="/"
        )
        assert done.returncode == 1


def test_the_wheel_is_what_runs(installed: Path) -> None:
    code = (
        "import astro_token, astro_token_backends; print(astro_token.__file__, astro_token_backends.__file__)"
    )
    done = subprocess.run([installed.parent / "python", "-c", code], capture_output=True, text=True, cwd="/")
    assert [str(installed.parent.parent)] * 2 == [
        name[: len(str(installed.parent.parent))] for name in done.stdout.split()
    ]


def test_the_wheel_does_the_main_job(installed: Path, program: Program, canary: str) -> None:
    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed, *arguments],
            env=program.environment(), cwd=program.work, input=stdin, capture_output=True, text=True,
        )  # fmt: skip

    assert (0, f"astro-token {__version__}\n", "") == outcome(run("--version"))
    stored = run("put", "--create-key", "file:prod.token.age", stdin=canary)
    assert stored.returncode == 0, stored.stderr
    child = run("exec", "file:prod.token.age", "--", "printenv", "ASTRO_API_TOKEN")
    assert (0, canary + "\n", "") == outcome(child)


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_the_wheel_passes_tests_of_the_command_line(installed: Path, tmp_path: Path) -> None:
    """Its files are the ones that all other tests run."""
    environ = {**os.environ, "ASTRO_TOKEN_TEST_PROGRAM": str(installed)}
    environ = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--basetemp={tmp_path / 'base'}",
    ]
    done = subprocess.run(
        [*command, "tests/cli/test_put.py"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture
def bare(program: Program) -> Path:
    """The program of an environment with no extra."""
    path = CORE / "bin" / "astro-token"
    assert path.exists(), "`make test` makes this environment"
    return path


@pytest.mark.parametrize(
    ("scheme", "extra"),
    [(name, scheme.extra) for name, scheme in BUILTIN.items() if scheme.extra and scheme.backend],
)
def test_without_its_extra_a_backend_says_how_to_install_it(
    bare: Path, program: Program, scheme: str, extra: str
) -> None:
    example = BUILTIN[scheme].example
    arguments = (
        ["check", example]
        if not BUILTIN[scheme].key
        else ["check", "--decrypt", example, "env:ASTRO_API_TOKEN"]
    )
    environ = program.environment({"ASTRO_API_TOKEN": program.canaries[0], "AWS_REGION": "eu-west-1"})
    done = subprocess.run(
        [bare, *arguments], env=environ, capture_output=True, text=True, cwd=program.work, check=False
    )
    assert done.returncode == 78
    assert f"astro-token: hint: {extra_hint(extra)}\n" in done.stderr
    assert "which is not installed" in done.stderr


def test_without_any_extra_every_public_name_is_there(bare: Path) -> None:
    code = "import astro_token\nfor name in astro_token.__all__: getattr(astro_token, name)\n"
    done = subprocess.run(
        [bare.parent / "python", "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    assert (0, "", "") == outcome(done)


def test_without_any_extra_an_encrypted_file_works(bare: Path, program: Program, canary: str) -> None:
    environ = program.environment()
    for arguments, text in ((["put", "--create-key", "file:t.age"], canary), (["check", "file:t.age"], "")):
        done = subprocess.run(
            [bare, *arguments], env=environ, input=text, capture_output=True, text=True, cwd=program.work
        )
        assert done.returncode == 0, done.stderr


def test_the_core_needs_few_distributions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [Requirement(text).name for text in project["dependencies"]]
    for name in names:
        requirements = map(Requirement, importlib.metadata.requires(name) or ())
        needed = [one.name for one in requirements if not one.marker or one.marker.evaluate({"extra": ""})]
        names += [other for other in needed if other not in names]
    assert len(names) <= 7, names


EXTRAS = ("vault", "aws", "gcp", "azure")
SDKS = {
    "vault": {"hvac"},
    "aws": {"boto3", "botocore"},
    "gcp": {
        "google-cloud-secret-manager",
        "google-cloud-parametermanager",
        "google-cloud-kms",
        "google-auth",
        "grpcio",
    },
    "azure": {"azure-core", "azure-identity", "azure-keyvault-secrets", "azure-keyvault-keys"},
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_its_own_sdk_and_no_other(extra: str) -> None:
    code = "from importlib.metadata import distributions as d; print(*{x.name.lower() for x in d()})"
    done = subprocess.run(
        [ROOT / f".venv-{extra}" / "bin" / "python", "-I", "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
    )
    found = set(done.stdout.split())
    assert {name: names if name == extra else set() for name, names in SDKS.items()} == {
        name: names & found for name, names in SDKS.items()
    }


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_enough_for_its_schemes_and_all_others_name_theirs(extra: str) -> None:
    code = """
from astro_token.secrets.registry import open_backend
from astro_token.errors import MissingDependencyError
from astro_token.secrets.schemes import BUILTIN
for name, scheme in BUILTIN.items():
    try:
        open_backend(name)
    except MissingDependencyError as error:
        print(scheme.extra, error.hint)
    else:
        print(scheme.extra)
"""
    done = subprocess.run(
        [ROOT / f".venv-{extra}" / "bin" / "python", "-I", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
    )
    expected = [
        str(row.extra) if row.extra in {None, extra} else f"{row.extra} {extra_hint(row.extra or '')}"
        for row in BUILTIN.values()
    ]
    assert (expected, "") == (done.stdout.splitlines(), done.stderr)


def test_locks_hold_hashes_and_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
        for line in text.splitlines():
            assert line.startswith("    --hash=sha256:") or line.endswith("\\")
