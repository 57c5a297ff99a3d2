"""
The source of a copy, and the command that adds an extra to it.

It is read from records, and run after real installations.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.system import installation
from astro_token.system.installation import Source, install_hint, install_requirement, package_hint
from tests.conftest import ROOT, Program
from tests.installed import extra_hint
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "ab" * 32
GIT = {"vcs": "git", "requested_revision": "main", "commit_id": COMMIT}
ADDRESS = "https://git.example/team/astro-token"


def test_this_copy_is_the_folder_of_the_checkout() -> None:
    assert Source("editable", str(ROOT)) == installation.installed_from()
    assert f"{ROOT}[vault]" == install_requirement("vault")
    assert extra_hint("vault") == install_hint("vault")
    assert "pip install pyrage" == package_hint("pyrage")


@each_row(
    ("record", "requirement"),
    [
        (None, "astro-token[vault]"),
        ({"url": "file:///srv/astro%20token", "dir_info": {}}, "/srv/astro token[vault]"),
        ({"url": "file:///srv/a", "dir_info": {"editable": True}}, "/srv/a[vault]"),
        ({"url": "file://localhost/srv/a", "dir_info": {}}, "/srv/a[vault]"),
        ({"url": ADDRESS, "vcs_info": GIT}, f"astro-token[vault] @ git+{ADDRESS}@{COMMIT}"),
        (
            {"url": "ssh://git@git.example:2222/a", "vcs_info": GIT},
            f"astro-token[vault] @ git+ssh://git@git.example:2222/a@{COMMIT}",
        ),
        (
            {"url": "file:///srv/a.git", "vcs_info": GIT},
            f"astro-token[vault] @ git+file:///srv/a.git@{COMMIT}",
        ),
        (
            {"url": ADDRESS, "vcs_info": GIT, "subdirectory": "tools/a"},
            f"astro-token[vault] @ git+{ADDRESS}@{COMMIT}#subdirectory=tools/a",
        ),
        (
            {"url": "https://files.example/a.whl", "archive_info": {"hashes": {"sha256": DIGEST}}},
            f"astro-token[vault] @ https://files.example/a.whl#sha256={DIGEST}",
        ),
        ({"url": "file:///srv/a.whl", "archive_info": {}}, "astro-token[vault] @ file:///srv/a.whl"),
        (
            {
                "url": "https://[2001:db8::1]/a.tar.gz",
                "archive_info": {"hashes": {"sha256": DIGEST}},
                "subdirectory": "b",
            },
            f"astro-token[vault] @ https://[2001:db8::1]/a.tar.gz#sha256={DIGEST}&subdirectory=b",
        ),
    ],
)
def test_a_record_gives_the_requirement(record: Any, requirement: str) -> None:
    assert requirement == installation._source(record).requirement("vault")


@each_row("scheme", ["https", "http", "ssh", "git"])
@each_row("user", ["{}", "{}:x", "x:{}", "git:{}", ":{}", "oauth2:{}"])
def test_no_credential_of_an_address_is_shown(scheme: str, user: str) -> None:
    password = secrets.token_hex(8)
    address = f"{scheme}://{user.format(password)}@git.example/team/a?private_token={password}#{password}"
    records: list[dict[str, Any]] = [{"vcs_info": GIT}, {"archive_info": {}}]
    for details in records:
        source = installation._source({"url": address, **details})
        assert source.kind in {"git", "archive"}
        assert password not in repr(source)
        assert password not in source.requirement("vault")
        assert "git.example/team/a" in source.requirement("vault")


@each_row(
    "record",
    [
        {},
        [],
        "https://git.example/a",
        {"url": 7},
        {"url": ""},
        {"url": "https://[git.example/a", "vcs_info": GIT},
        {"url": "https://git.example:port/a", "vcs_info": GIT},
        {"url": "https:///a", "vcs_info": GIT},
        {"url": "svn://git.example/a", "vcs_info": GIT},
        {"url": "file://host/a", "dir_info": {}},
        {"url": "https://git.example/a", "dir_info": {}},
        {"url": "https://git.example/a b", "vcs_info": GIT},
        {"url": "https://git.example/\x1b[31m", "vcs_info": GIT},
        {"url": ADDRESS, "vcs_info": {**GIT, "vcs": "hg"}},
        {"url": ADDRESS, "vcs_info": {**GIT, "commit_id": "main; rm -rf /"}},
        {"url": ADDRESS, "vcs_info": {**GIT, "commit_id": ""}},
        {"url": ADDRESS, "vcs_info": {**GIT, "commit_id": 7}},
        {"url": ADDRESS},
    ],
)
def test_a_record_that_cannot_be_used_gives_no_address(record: Any) -> None:
    assert Source("unknown") == installation._source(record)


def test_an_unknown_source_names_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "installed_from", lambda: Source("unknown"))
    assert "install the extra vault from the source of this copy of astro-token" == install_hint("vault")


def test_a_folder_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "installed_from", lambda: Source("folder", str(tmp_path / "no")))
    expected = "clone the repository of astro-token again, and pip install 'FOLDER[vault]': the folder "
    assert f"{expected}{tmp_path / 'no'} is gone" == install_hint("vault")


@each_row(
    ("installed", "requirement"),
    [
        ("/srv/a", "astro-token[aws]"),
        ("/srv/a[vault]", "astro-token[aws,vault]"),
        ("astro-token[gcp, vault] @ git+https://git.example/a@b", "astro-token[aws,gcp,vault]"),
        ("astro-token[$(id)]", "astro-token[aws]"),
        (None, "astro-token[aws]"),
    ],
)
def test_pipx_keeps_the_extras_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: object, requirement: str
) -> None:
    (tmp_path / "pipx_metadata.json").write_text(json.dumps({"main_package": {"package_or_url": installed}}))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(installation, "installed_from", lambda: Source("index"))
    assert f"pipx install --force {shlex.quote(requirement)}" == install_hint("aws")
    assert "pipx inject astro-token pyrage" == package_hint("pyrage")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"main_package": 7}'])
def test_a_broken_record_of_pipx_gives_no_extras(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "pipx_metadata.json").write_text(text)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert f"pipx install --force --editable '{ROOT}[aws]'" == install_hint("aws")


@pytest.mark.parametrize(
    ("receipt", "extras"),
    [
        ('[tool]\nrequirements = [{name = "astro-token", extras = ["vault"]}]', "aws,vault"),
        ('[tool]\nrequirements = [{name = "rich"}, {name = "astro-token"}]', "aws"),
        ("[tool", "aws"),
        ("tool = 7", "aws"),
    ],
)
def test_uv_tool_keeps_the_extras_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receipt: str, extras: str
) -> None:
    (tmp_path / "uv-receipt.toml").write_text(receipt)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert f"uv tool install --force --editable '{ROOT}[{extras}]'" == install_hint("aws")
    assert f"uv tool install --with pyrage {ROOT}" == package_hint("pyrage")


# -- real installations ----------------------------------------------------------------------------------


class Registry:
    """
    A simple index on loopback, and the sources of this repository in every form.

    Attributes:
        environ: variables that make pip, pipx and uv use this index alone.
    """

    def __init__(self, folder: Path, program: Program | None = None) -> None:
        self.folder = folder / "packages"
        locks = [argument for name in ("core", "vault") for argument in ("-r", f"requirements/{name}.txt")]
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        download = [*pip, "download", "--require-hashes", "--only-binary", ":all:", *locks]
        subprocess.run([*download, "-d", str(self.folder)], cwd=ROOT, check=True)
        self.tree = folder / "tree"
        for name in ("core", "backends"):
            shutil.copytree(ROOT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.tree)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")]
        subprocess.run(build, cwd=self.tree, check=True, capture_output=True)
        self.wheel = next((folder / "wheel").glob("*.whl"))
        self.repository = folder / "repository"
        shutil.copytree(self.tree, self.repository)
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "all")
        self.commit = self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.repository, env=environ, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def serve(self) -> http.server.ThreadingHTTPServer:
        """Serve the folder as an index: a page for each name, with links to its files."""
        files: dict[str, list[Path]] = {}
        for path in [*self.folder.iterdir(), self.wheel]:
            name = path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            files.setdefault(name, []).append(path)

        class Index(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                first, _, name = self.path.strip("/").partition("/")
                if first == "simple" and name in files:
                    links = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in files[name])
                    body, kind = f"<!DOCTYPE html><body>{links}</body>".encode(), "text/html"
                else:
                    paths = [path for listed in files.values() for path in listed if path.name == name]
                    if first != "files" or not paths:
                        self.send_error(404)
                        return
                    body, kind = paths[0].read_bytes(), "application/octet-stream"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_arguments: object) -> None:
                return

        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def index(registry: Registry) -> Iterator[str]:
    server = registry.serve()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


class Machine:
    """A home with empty folders for environments and tools, whose installers read one index."""

    def __init__(self, folder: Path, index: str) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        tools = folder / "tools"
        self.environ = {
            "HOME": str(folder),
            "PATH": os.pathsep.join(
                [str(self.bin), str(tools), str(Path(sys.executable).parent), "/usr/bin:/bin"]
            ),
            "VIRTUAL_ENV": str(folder / "venv"),
            "PIP_INDEX_URL": index,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "UV_DEFAULT_INDEX": index,
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_TOOL_DIR": str(folder / "uv"),
            "UV_TOOL_BIN_DIR": str(tools),
            "PIPX_HOME": str(folder / "pipx"),
            "PIPX_BIN_DIR": str(tools),
            "PIPX_DEFAULT_PYTHON": getattr(sys, "_base_executable", sys.executable),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )

    def must(self, *command: str) -> None:
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout[-1500:], done.stderr[-3000:])

    def hint(self) -> str:
        """The hint of our program for the missing extra."""
        self.environ |= {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "x"}
        done = self.run("astro-token", "export", "vault:secret/x")
        lines = done.stderr.splitlines()
        assert (78, "", 2) == (done.returncode, done.stdout, len(lines)), done.stderr
        assert lines[0].endswith("vault needs the Python package hvac, which is not installed")
        return lines[1].removeprefix("astro-token: hint: ")


def extras_of(machine: Machine) -> dict[str, bool]:
    done = machine.run("astro-token", "backends", "--format", "json")
    return {row["scheme"]: row["installed"] for row in json.loads(done.stdout)["backends"]}


def sources(registry: Registry) -> dict[str, tuple[str, str]]:
    """The argument that installs each source, and the one that the hint names."""
    git = f"git+file://localhost{registry.repository}@{registry.commit}"  # older pip wants a host
    file = f"file://{registry.wheel}"
    return {
        "folder": (str(registry.tree), f"{registry.tree}[vault]"),
        "git": (f"astro-token @ {git}", f"astro-token[vault] @ {git}"),
        "wheel": (str(registry.wheel), f"astro-token[vault] @ {file}"),
        "index": ("astro-token", "astro-token[vault]"),
    }


def installers(machine: Machine) -> dict[str, tuple[Callable[[str], None], str]]:
    def pip(argument: str) -> None:
        machine.must(sys.executable, "-m", "venv", str(machine.folder / "venv"))
        machine.must("pip", "install", "-q", argument)

    def uv(argument: str) -> None:
        machine.must("uv", "venv", "-q", "--python", sys.executable, str(machine.folder / "venv"))
        machine.must("uv", "pip", "install", "-q", argument)

    return {
        "pip": (pip, "pip install "),
        "uv": (uv, "uv pip install "),
        "pipx": (functools.partial(machine.must, "pipx", "install"), "pipx install --force "),
        "uv-tool": (functools.partial(machine.must, "uv", "tool", "install"), "uv tool install --force "),
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("installer", "source"),
    [
        *(("pip", source) for source in ("folder", "git", "wheel", "index")),
        ("uv", "git"),
        *(("pipx", source) for source in ("folder", "git")),
        *(("uv-tool", source) for source in ("git", "index")),
    ],
)
def test_the_command_of_the_hint_adds_the_extra(
    registry: Registry, index: str, tmp_path: Path, installer: str, source: str
) -> None:
    machine = Machine(tmp_path, index)
    install, command = installers(machine)[installer]
    argument, requirement = sources(registry)[source]
    install(argument)
    hint = command_line = machine.hint()
    # pip records the digest of an archive. uv leaves out this host.
    hint = hint.replace("file://localhost/", "file:///")
    requirement = requirement.replace("file://localhost/", "file:///")
    assert hint.startswith(f"{command}{shlex.quote(requirement)[:-1]}"), hint
    assert not extras_of(machine)["vault"]
    machine.must(*shlex.split(command_line))
    assert extras_of(machine)["vault"]
    assert not extras_of(machine)["aws"]


@pytest.mark.long
def test_an_editable_folder_stays_editable(registry: Registry, index: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, index)
    tree = tmp_path / "clone of mine"
    shutil.copytree(registry.tree, tree)
    machine.must(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    machine.must("pip", "install", "-q", "--editable", str(tree))
    hint = machine.hint()
    assert f"pip install --editable '{tree}[vault]'" == hint
    machine.must(*shlex.split(hint))
    assert extras_of(machine)["vault"]
    shutil.move(tree / "core" / "astro_token" / "log.py", tree)
    assert machine.run("astro-token", "backends").returncode != 0  # still runs from the folder


@pytest.mark.long
def test_a_password_in_the_address_of_an_index_is_not_shown(
    registry: Registry, index: str, tmp_path: Path
) -> None:
    password = secrets.token_hex(8)
    machine = Machine(tmp_path, index)
    machine.must(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    address = index.replace("//", f"//user:{password}@").replace("/simple", f"/files/{registry.wheel.name}")
    machine.must("pip", "install", "-q", f"astro-token @ {address}")
    hint = machine.hint()
    assert password not in hint
    assert "user" not in hint
    machine.must(*shlex.split(hint))
    assert extras_of(machine)["vault"]
