"""The workflows of GitHub, the locks and the files of a release."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from astro_token.version import __version__
from tests.conftest import ROOT
from tests.rows import each_row
from tests.schemas import assert_schema

BIN = Path(sys.executable).parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
EXTRAS = ("vault", "aws", "aws-login", "gcp", "azure", "keyring")
REQUIREMENTS = ROOT / "requirements"
REHEARSE = runpy.run_path(str(ROOT / ".ci" / "rehearse.py"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# -- .github ---------------------------------------------------------------------------------------------


def test_the_files_of_github_keep_to_their_schemas() -> None:
    forms = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
    for schema, files in {
        "github-workflows": WORKFLOWS,
        "dependabot": [GITHUB / "dependabot.yml"],
        "github-issue-forms": forms,
        "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    }.items():
        assert_schema(f"vendor.{schema}", *files)


def test_an_auditor_finds_nothing_in_them(tmp_path: Path) -> None:
    def audit(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "zizmor"), "--offline", "--no-progress", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = audit(GITHUB)
    assert (0, True) == (done.returncode, "No findings" in done.stdout + done.stderr), done.stdout
    planted = tmp_path / ".github" / "workflows"
    planted.mkdir(parents=True)
    text = (GITHUB / "workflows" / "tests.yml").read_text()
    (planted / "tests.yml").write_text(text.replace("  pull_request:\n", "  pull_request_target:\n"))
    assert audit(tmp_path / ".github").returncode != 0


ACTIONS = ROOT / "core" / "astro_token" / "init" / "actions"
ACTION = re.compile(r"uses: (?!YOUR-ORG/)([^@\s]+)@(.+)")


def updated_files() -> list[Path]:
    """The files of GitHub's actions that dependabot updates."""
    (update,) = [
        each for each in load(GITHUB / "dependabot.yml")["updates"] if "github-actions" in each.values()
    ]
    assert update["groups"] == {"actions": {"patterns": ["*"]}}  # all folders in one pull request
    folders = [ROOT / folder.strip("/") for folder in update["directories"]]
    assert {ROOT, ACTIONS, ROOT / "examples" / "ci" / "github"} == {*folders}
    return [*WORKFLOWS, *(path for folder in folders for path in folder.glob("*.yml"))]


def test_every_action_is_pinned_by_hash_and_version() -> None:
    used: dict[str, set[str]] = {}
    for path in updated_files():
        for name, pin in ACTION.findall(path.read_text()):
            assert re.fullmatch(r"[0-9a-f]{40}  # v\d+\.\d+\.\d+", pin), (path.name, name, pin)
            used.setdefault("/".join(name.split("/")[:2]), set()).add(pin)
    assert dict.fromkeys(used, 1) == {name: len(pins) for name, pins in used.items()}


def test_no_other_file_has_a_version_of_an_action_that_would_stay_behind() -> None:
    """After an update by dependabot, change the pages that this test names by hand."""
    pinned = {use for path in updated_files() for use in ACTION.findall(path.read_text())}
    templates = ACTIONS.parent / "templates"
    assert [] == [path.name for path in templates.iterdir() if ACTION.search(path.read_text())]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    uses = {use for path in pages for use in ACTION.findall(path.read_text("utf-8"))}
    assert set() == {(name, pin) for name, pin in uses if re.match(r"[0-9a-f]{40}", pin)} - pinned


def test_dependabot_reads_the_actions_of_init() -> None:
    """It reads the steps of jobs, and takes the file for a workflow."""
    steps = load(ACTIONS / "versions.yml")["jobs"]["versions"]["steps"]
    assert [["uses"]] * len(steps) == [list(step) for step in steps]
    names = [step["uses"].partition("@")[0] for step in steps]
    assert ["actions/checkout", "actions/setup-python"] == names


def test_a_job_has_the_permissions_that_it_lists_and_a_time_limit() -> None:
    for path in WORKFLOWS:
        workflow = load(path)
        assert {} == workflow["permissions"], path.name
        for name, job in workflow["jobs"].items():
            assert (True, True) == ("permissions" in job, "timeout-minutes" in job), (path.name, name)
            for step in job["steps"]:
                if str(step.get("uses", "")).startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, (path.name, name)


def test_only_a_tag_of_the_canonical_repository_uploads_anything() -> None:
    workflow = load(GITHUB / "workflows" / "release.yml")
    assert {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}} == workflow[True]  # YAML reads `on` as true
    jobs = workflow["jobs"]
    for name, job in jobs.items():
        writes = [key for key, value in job["permissions"].items() if value == "write"]
        guarded = job.get("if") == "vars.CANONICAL_REPOSITORY == github.repository"
        assert bool(writes) == guarded, name
    assert {"attest", "index", "github", "image"} == {name for name in jobs if "if" in jobs[name]}


def step(job: str, name: str) -> str:
    """The script of a step of the release."""
    steps = load(GITHUB / "workflows" / "release.yml")["jobs"][job]["steps"]
    (script,) = [each["run"] for each in steps if each.get("name") == name]
    return str(script)


@pytest.mark.parametrize(
    ("tags", "moved"),
    [
        (["v1.9.0", "v1.10.1"], True),
        (["v1.9.0", "v1.10.1", "v1.10.x", "v1.11.0-rc.1"], True),
        (["v1.10.1", "v1.11.0"], False),  # a fix of an older release
        ([], None),  # GitHub does not answer
    ],
)
def test_the_tag_of_the_major_version_never_moves_back(
    tags: list[str], moved: bool | None, tmp_path: Path
) -> None:
    (tmp_path / "tags").write_text("".join(f"refs/tags/{tag}\n" for tag in tags))
    stub = tmp_path / "gh"
    stub.write_text(
        f'#!/bin/sh\ncase "$*" in *matching-refs*) [ -s {tmp_path}/tags ] && cat {tmp_path}/tags ;; '
        f'*) echo "$*" >>{tmp_path}/calls ;; esac\n'
    )
    stub.chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "GITHUB_REF_NAME": "v1.10.1",
        "GITHUB_SHA": "0" * 40,
        "GH_REPO": "acme/astro-token",
    }
    script = step("github", "Move the tag of the major version")
    done = subprocess.run(["bash", "-e", "-c", script], env=environ, capture_output=True, text=True)
    assert (done.returncode == 0) is (moved is not None), done.stderr
    calls = tmp_path / "calls"
    assert calls.exists() is bool(moved)
    if moved:
        assert "git/refs/tags/v1 -f sha=000" in calls.read_text()


def test_what_is_released_or_runs_elsewhere_has_owners() -> None:
    owned = re.findall(r"^(/\S+) @", (GITHUB / "CODEOWNERS").read_text(), re.MULTILINE)
    released = ("action.yml", "action", ".ci", "Makefile", "pyproject.toml", "requirements", ".github")
    written = ("core/astro_token/init/templates", "core/astro_token/init/actions")
    for name in (*released, *written, "examples/container"):
        assert {f"/{name}/", f"/{name}"} & {*owned}, name
    assert all((ROOT / path.strip("/")).exists() for path in owned)


def test_the_workflow_of_tests_covers_the_supported_pythons() -> None:
    jobs = load(GITHUB / "workflows" / "tests.yml")["jobs"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    listed = [line.rpartition(" ")[2] for line in classifiers if re.search(r":: 3\.\d+$", line)]
    assert listed == jobs["linux"]["strategy"]["matrix"]["python"]
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} == {job["runs-on"] for job in jobs.values()}
    assert "python tests/portable.py" in [step.get("run") for step in jobs["windows"]["steps"]]


@pytest.mark.long
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environ = {**os.environ, "GOBIN": str(tmp_path), "GOFLAGS": "-mod=mod"}
    build = [go, "install", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"]
    subprocess.run(build, env=environ, check=True, capture_output=True)
    files = [*WORKFLOWS, *(ROOT / "examples" / "ci" / "github").glob("*.yml")]
    command: list[str | Path] = [tmp_path / "actionlint", "-no-color", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


# -- locks -----------------------------------------------------------------------------------------------


def pylock(extra: str) -> dict[str, Any]:
    name = "pylock.toml" if extra == "core" else f"pylock.{extra}.toml"
    text = (REQUIREMENTS / name).read_text()
    assert "://" not in text
    return tomllib.loads(text)


def locked(extra: str) -> dict[str, tuple[str, set[str]]]:
    """The versions and hashes of a lock of pip."""
    text = (REQUIREMENTS / f"{extra}.txt").read_text()
    entries = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)((?:.|\n)*?)(?=^\w|\Z)", text, re.MULTILINE)
    return {name: (version, set(re.findall(r"sha256:(\w+)", rest))) for name, version, rest in entries}


@each_row("extra", ["core", *EXTRAS])
def test_a_pylock_has_the_versions_and_hashes_of_its_lock(extra: str) -> None:
    lock, expected = pylock(extra), locked(extra)
    assert ("1.0", ">=3.11") == (lock["lock-version"], lock["requires-python"])
    packages = lock["packages"]
    for package in packages:
        version, hashes = expected[package["name"]]
        assert package["version"] == version
        assert {wheel["hashes"]["sha256"] for wheel in package["wheels"]} <= hashes
        for wheel in package["wheels"]:
            assert re.fullmatch(r"wheels/[\w.+-]+\.whl", wheel["path"])
    build = {"hatchling", "editables", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
    assert expected.keys() - build <= {package["name"] for package in packages} <= expected.keys()


@pytest.mark.long
def test_an_installer_reads_a_pylock(tmp_path: Path) -> None:
    shutil.copy(REQUIREMENTS / "pylock.toml", tmp_path)
    wheels, python = tmp_path / "wheels", str(tmp_path / "venv" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS / "core.txt"), "-d", str(wheels)], check=True)
    uv = [str(BIN / "uv"), "--quiet", "--no-cache"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    sync = [*uv, "--offline", "pip", "sync", "--python", python, str(tmp_path / "pylock.toml")]
    subprocess.run(sync, check=True)
    code = "import rich, tenacity, pyrage, platformdirs"
    assert subprocess.run([python, "-c", code], check=False).returncode == 0
    next(wheels.glob("rich-*.whl")).write_bytes(b"something else")
    subprocess.run([*uv, "pip", "uninstall", "--python", python, "rich"], check=True)
    assert subprocess.run(sync, check=False, capture_output=True).returncode != 0


# -- the files of a release ------------------------------------------------------------------------------


@each_row(
    ("tag", "heading", "problem"),
    [
        ("", "Unreleased", None),
        ("v1.2.3", "1.2.3 - 2026-11-30", None),
        (
            "v1.2.4",
            "1.2.3 - 2026-11-30",
            "the tag v1.2.4 is not v1.2.3, the version in core/astro_token/version.py",
        ),
        (
            "1.2.3",
            "1.2.3 - 2026-11-30",
            "the tag 1.2.3 is not v1.2.3, the version in core/astro_token/version.py",
        ),
        ("v1.2.3", "Unreleased", "the first heading of CHANGELOG.md is Unreleased, not 1.2.3 - YYYY-MM-DD"),
        (
            "v1.2.3",
            "1.2.2 - 2026-11-30",
            "the first heading of CHANGELOG.md is 1.2.2 - 2026-11-30, not 1.2.3 - YYYY-MM-DD",
        ),
    ],
)
def test_the_tag_the_version_and_the_changelog_have_to_agree(
    tag: str, heading: str, problem: str | None
) -> None:
    changelog = f"# Changelog\n\n## {heading}\n\n- x\n\n## 1.0.0 - 2026-01-01\n"
    assert problem == REHEARSE["disagreement"]("1.2.3", tag, changelog)


def test_a_changed_file_and_a_wrong_sum_are_noticed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "a.whl").write_text("a")
        subprocess.run([sys.executable, ROOT / ".ci" / "checksums.py", folder], check=True)
    assert ([], None) == (REHEARSE["difference"](one, other), REHEARSE["wrong_sum"](one))
    (other / "a.whl").write_text("b")
    assert ["a.whl"] == REHEARSE["difference"](one, other)
    assert "SHA256SUMS is wrong for a.whl" == REHEARSE["wrong_sum"](other)
    (one / "b.whl").write_text("b")
    assert ["a.whl", "b.whl"] == REHEARSE["difference"](one, other)
    assert "SHA256SUMS is wrong for b.whl" == REHEARSE["wrong_sum"](one)


def sbom(*files: Path) -> str:
    command = [sys.executable, str(ROOT / ".ci" / "sbom.py"), __version__, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_bill_of_materials_lists_every_locked_package(tmp_path: Path) -> None:
    wheel = tmp_path / "astro_token.whl"
    wheel.write_text("wheel")
    text = sbom(wheel)
    assert text == sbom(wheel)
    document = json.loads(text)
    components = {(each["name"], each["version"]): each for each in document["components"]}
    expected: dict[tuple[str, str], set[str]] = {}
    for extra in ("core", *EXTRAS):
        for package in pylock(extra)["packages"]:
            expected.setdefault((package["name"], package["version"]), set()).add(extra)
    assert {key: "required" if "core" in extras else "optional" for key, extras in expected.items()} == {
        key: each["scope"] for key, each in components.items()
    }
    ours = document["metadata"]["component"]
    assert (f"pkg:pypi/astro-token@{__version__}", "astro_token.whl") == (
        ours["purl"],
        ours["externalReferences"][0]["url"],
    )


@pytest.mark.long  # the schema alone takes ten seconds
def test_the_bill_of_materials_keeps_to_its_schema(tmp_path: Path) -> None:
    wheel = tmp_path / "astro_token.whl"
    wheel.write_text("wheel")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom(wheel)) is None


def test_the_source_archive_has_every_file_of_the_repository(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is the source archive")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    present = {name for name in listed.splitlines() if (ROOT / name).is_file()}
    assert set() == present - packed
    assert "PKG-INFO" in packed


@pytest.mark.long
def test_a_release_is_rehearsed_and_its_source_runs_its_tests(tmp_path: Path) -> None:
    options = ["-o", ".venv-core/done", "-o", ".venv/done", f"DIST={tmp_path / 'dist'}"]
    done = subprocess.run(
        ["make", "release-rehearsal", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok  two builds are the same\n" in done.stdout
    archive = next((tmp_path / "dist").glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    environ = {**os.environ, "PYTHONPATH": f"{source / 'core'}{os.pathsep}{source / 'backends'}"}
    tests = [
        "tests/test_token.py",
        "tests/test_examples.py",
        "tests/formats/test_shells.py",
        "tests/test_release.py",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", *tests]
    done = subprocess.run(command, cwd=source, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
