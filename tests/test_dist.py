"""`make dist` and the container image, built into temporary folders, without a container runtime."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.version import __version__
from tests.conftest import ROOT, Program

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINERFILE = ROOT / "examples" / "container" / "Containerfile"
PACK = ROOT / ".ci" / "pyz.py"
EXTRAS = ("core", "vault", "aws", "gcp", "azure")
# A Python that has its standard library and nothing else.
BARE = (getattr(sys, "_base_executable", sys.executable), "-I", "-S")


def make_dist(folder: Path, **environ: str) -> Path:
    """The environment that builds is taken as it is: another test may be using it."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-o", ".venv-core/done", "dist", f"DIST={folder}"],
        cwd=ROOT, env={**os.environ, **environ}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    # What it has built, and no temporary folder.
    assert sorted(map(str, folder.iterdir())) == sorted(done.stdout.splitlines())
    return folder / "astro-token.pyz"


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dist(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built elsewhere, in another time zone, and with other permissions."""
    before = os.umask(0o077)
    try:
        return make_dist(tmp_path_factory.mktemp("again"), TZ="Asia/Tokyo")
    finally:
        os.umask(before)


def run(
    zipapp: Path, program: Program, *arguments: str, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        [*BARE, str(zipapp), *arguments],
        env=program.environment(env), cwd=program.work, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
def test_the_same_source_gives_the_same_files(zipapp: Path, again: Path) -> None:
    for name in (zipapp.name, f"astro_token-{__version__}-py3-none-any.whl"):
        assert (zipapp.parent / name).read_bytes() == (again.parent / name).read_bytes(), name


def test_the_time_of_the_build_is_the_one_it_is_told(zipapp: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "x.py").touch()
    target = tmp_path / "x.pyz"
    for epoch, year in (("1767225600", 2026), ("0", 1980)):
        subprocess.run(
            [sys.executable, PACK, tmp_path / "app", target],
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch}, check=True,
        )  # fmt: skip
        assert {year} == {entry.date_time[0] for entry in zipfile.ZipFile(target).infolist()}
    assert {(1980, 1, 1, 0, 0, 0)} == {entry.date_time for entry in zipfile.ZipFile(zipapp).infolist()}


def test_nothing_compiled_is_packed_unseen(tmp_path: Path) -> None:
    (tmp_path / "app" / "fast").mkdir(parents=True)
    (tmp_path / "app" / "fast" / "x.abi3.so").touch()
    command: list[str | Path] = [sys.executable, PACK, tmp_path / "app", tmp_path / "x.pyz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (1, "fast/x.abi3.so is compiled, and cannot be imported from a zip\n") == (
        done.returncode,
        done.stderr,
    )
    assert not (tmp_path / "x.pyz").exists()


def test_a_folder_that_lacks_what_the_oldest_python_needs_is_refused(tmp_path: Path) -> None:
    """Installed by a later Python, for which a requirement's marker is false."""
    metadata = tmp_path / "app" / "a-1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    head = "Metadata-Version: 2.1\nName: a\nVersion: 1\n"
    for requirement, said in (
        (
            'b; python_full_version < "3.15"',
            "b: not there, and needed by Python 3.11: install with that one\n",
        ),
        ('b; python_version < "3.11"', ""),
        ('b; extra == "more"', ""),
        ("A>=1", ""),
    ):
        metadata.write_text(f"{head}Requires-Dist: {requirement}\n")
        command: list[str | Path] = [sys.executable, PACK, tmp_path / "app", tmp_path / "x.pyz"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (bool(said), said) == (bool(done.returncode), done.stderr)


@pytest.mark.parametrize("as_program", [True, False])
def test_the_zipapp_imports_nothing_of_the_folder_that_it_is_run_in(
    zipapp: Path, program: Program, canary: str, as_program: bool
) -> None:
    for module in ("base64", "json", "platform", "rich", "http", "astro_token", "__main__", "sitecustomize"):
        (program.work / f"{module}.py").write_text("import sys; sys.exit('the folder was run')")
    command = [str(zipapp)] if as_program else [BARE[0], str(zipapp)]
    done = subprocess.run(
        [*command, "check", "env:X"],
        env=program.environment({"X": canary}), cwd=program.work, capture_output=True, text=True,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)


def test_the_zipapp_is_small_and_holds_the_two_packages(zipapp: Path) -> None:
    assert zipapp.stat().st_size < 2_000_000
    names = set(zipfile.ZipFile(zipapp).namelist())
    for root in (ROOT / "core", ROOT / "backends"):
        ours = {str(path.relative_to(root)) for path in root.rglob("*.py")}
        assert ours
        assert set() == ours - names
    assert [] == [name for name in names if re.match(r"pyrage|pygments|hatchling|boto|hvac", name)]


def test_the_zipapp_runs_on_a_bare_python(zipapp: Path, program: Program) -> None:
    assert (0, f"astro-token {__version__}\n", "") == run(zipapp, program, "--version")
    # As a program of its own, too.
    done = subprocess.run([zipapp, "--version"], env=program.environment(), capture_output=True, text=True)
    assert (0, f"astro-token {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("masked", [True, False])
def test_the_zipapp_hands_a_token_to_a_command(
    zipapp: Path, program: Program, canary: str, masked: bool
) -> None:
    option = "--mask" if masked else "--no-mask"
    script = 'test "$ASTRO_API_TOKEN" = "$EXPECTED" && echo "$ASTRO_API_TOKEN"; exit 3'
    env = {"X": canary, "EXPECTED": canary}
    done = run(zipapp, program, "exec", option, "env:X", "--", "sh", "-c", script, env=env)
    assert (3, "***\n" if masked else f"{canary}\n", "") == done


def test_the_zipapp_prints_tables(zipapp: Path, program: Program, canary: str) -> None:
    """With what it leaves out of rich."""
    code, stdout, stderr = run(zipapp, program, "check", "env:X", env={"X": canary})
    assert (0, "") == (code, stderr)
    assert "env:X" in stdout
    assert (0, "") == run(zipapp, program, "backends")[::2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_the_zipapp_prints_the_completion_scripts(zipapp: Path, program: Program, shell: str) -> None:
    expected = (ROOT / "core" / "astro_token" / "cli" / "completions" / shell).read_text()
    assert (0, expected, "") == run(zipapp, program, "completion", shell)


def test_the_zipapp_has_what_it_needs_to_ask_astro(zipapp: Path, program: Program) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(zipapp)!r}); import tenacity;"
        " from astro_token.astro_api import AstroApi; AstroApi({})"
    )
    done = subprocess.run([*BARE, "-c", code], env=program.environment(), capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_zipapp_says_that_encrypted_files_need_a_package(
    zipapp: Path, program: Program, canary: str
) -> None:
    assert program("put", "--create-key", "file:prod.token.age", stdin=canary).code == 0
    code, stdout, stderr = run(zipapp, program, "exec", "file:prod.token.age", "--", "true")
    assert (78, "") == (code, stdout), stderr
    assert "an encrypted file needs the Python package pyrage, which is not installed" in stderr
    assert "hint: pip install pyrage\n" in stderr


def test_the_zipapp_says_which_sdk_is_missing(zipapp: Path, program: Program) -> None:
    code, stdout, stderr = run(zipapp, program, "exec", "vault:secret/astro#token", "--", "true")
    assert (78, "") == (code, stdout), stderr
    hint = (
        "a zipapp has no extras: install the wheel with [vault], or these packages for this Python: hvac>=2.3"
    )
    assert f"hint: {hint}\n" in stderr


# -- the container image --------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """What comes before the first FROM, and then each stage with its FROM."""
    found: list[list[tuple[str, str]]] = [[]]
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def test_the_containerfile_has_only_instructions_that_there_are() -> None:
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert known == {name for name, _ in instructions()}
    before, build, final = stages()
    assert {"ARG"} == {name for name, _ in before}
    assert ("FROM", "${PYTHON} AS build") == build[0]
    assert ("FROM", "${PYTHON}") == final[0]
    for name, text in instructions():
        if name == "RUN":
            assert 0 == subprocess.run(["sh", "-n", "-c", text]).returncode, text


def test_the_base_image_is_pinned_by_a_tag() -> None:
    (argument,) = [text for name, text in stages()[0] if name == "ARG"]
    assert re.fullmatch(r"PYTHON=docker\.io/library/python:3\.\d+-slim-[a-z]+", argument)
    assert "@sha256:" in CONTAINERFILE.read_text()  # and it is told how to pin by digest


def test_the_image_does_not_run_as_root_and_has_no_build_tools() -> None:
    final = stages()[2]
    assert [("USER", "10001")] == [one for one in final if one[0] == "USER"]
    assert [("COPY", "--from=build /opt/astro-token /opt/astro-token")] == [
        one for one in final if one[0] == "COPY"
    ]
    (command,) = [text for name, text in final if name == "RUN"]
    assert command.startswith("pip uninstall --yes ")
    assert not re.search(r"\b(?:apt|apt-get|install)\b", command)


def test_all_that_it_copies_and_installs_is_there() -> None:
    sources = [text.split()[:-1] for name, text in stages()[1] if name == "COPY"]
    copied = {source for line in sources for source in line}
    assert {"pyproject.toml", "README.md", "LICENSE", "core", "backends"} < copied
    for source in copied:
        assert (ROOT / source).exists(), source
    fetching = [text for name, text in stages()[1] if name == "RUN" and " -r " in text]
    assert fetching
    for command in fetching:
        assert "--require-hashes" in command
        (file,) = re.findall(r"-r (\S+)", command)
        assert {file.replace("${EXTRA}", extra) for extra in EXTRAS} <= copied
    # Whatever else pip installs is what these have fetched.
    for command in (text for name, text in stages()[1] if name == "RUN" and "pip" in text):
        assert command in fetching or "--no-index" in command


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build stage, run with a Python of its own and with the paths of the image in a temporary folder."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    source.mkdir()
    subprocess.run([BARE[0], "-m", "venv", folder / "python"], check=True)
    environ = {**os.environ, "EXTRA": "vault", "PATH": f"{folder}/python/bin:{os.environ['PATH']}"}
    for name, text in stages()[1]:
        if name == "COPY":
            *sources, target = text.split()
            for one in sources:
                goal = source / target / Path(one).name if target.endswith("/") else source / target
                goal.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / one).is_dir():
                    shutil.copytree(ROOT / one, goal, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / one, goal)
        elif name == "RUN":
            here = text.replace("/wheels", f"{folder}/wheels").replace("/opt/", f"{folder}/opt/")
            done = subprocess.run(["sh", "-c", here], cwd=source, env=environ, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    return folder / "opt" / "astro-token"


@pytest.mark.long
def test_the_build_stage_makes_an_environment_that_works(image: Path, program: Program, canary: str) -> None:
    shown = subprocess.run(
        [image / "bin" / "astro-token", "exec", "--no-mask", "env:X", "--", "printenv", "ASTRO_API_TOKEN"],
        env=program.environment({"X": canary}), capture_output=True, text=True,
    )  # fmt: skip
    assert (0, f"{canary}\n", "") == (shown.returncode, shown.stdout, shown.stderr)


@pytest.mark.long
def test_the_build_stage_leaves_the_sdk_and_no_build_tools(image: Path) -> None:
    (site,) = (image / "lib").glob("python*/site-packages")
    packages = {path.name for path in site.iterdir()}
    assert {"astro_token", "astro_token_backends", "hvac", "pyrage"} <= packages
    assert set() == packages & {"pip", "setuptools", "hatchling", "editables", "pathspec", "boto3"}
