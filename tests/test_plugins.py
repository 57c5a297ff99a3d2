"""A backend from a distribution of its own, as `backends new` writes it and somebody else would."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import NoCredentialError, NoStoreError
from astro_token.init.backend import backend_files
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract
from tests.conftest import PROGRAM, ROOT, Program
from tests.machine import limited
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

NAME = "astro-token-acme"
FILES = {"README.md", "astro_token_acme.py", "pyproject.toml", "test_astro_token_acme.py"}


def distribution(site: Path, name: str, entry_point: str) -> None:
    """Write the metadata of an installed distribution with one backend."""
    metadata = site / f"{name.replace('-', '_')}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[astro_token.backends]\n{entry_point}\n")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that the real program writes."""
    folder = tmp_path_factory.mktemp("new")
    done = subprocess.run([PROGRAM, "backends", "new", "acme"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout.startswith(f"cd {NAME} && ")) == (0, True), done.stderr
    return folder / NAME


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture
def service(canary: str) -> Iterator[str]:
    """The address of a service that has the canary as its secret `prod`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exists = (
                self.path == "/v1/secrets/prod/latest" and self.headers["Authorization"] == "Bearer right"
            )
            body = json.dumps({"value": canary, "version": 7}).encode() if exists else b"{}"
            self.send_response(200 if exists else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def with_plugin(site: Path, address: str = "", **more: str) -> Mapping[str, str]:
    plugin = {"PYTHONPATH": str(site), "ASTRO_TOKEN_PLUGINS": NAME}
    return {**plugin, "ACME_ADDR": address, "ACME_TOKEN": "right", **more}


def test_it_is_used_once_the_environment_names_its_distribution(
    program: Program, installed: Path, service: str, canary: str
) -> None:
    result = program(
        "export", "--format", "value", "acme:prod", env=with_plugin(installed, service), allowed=["stdout"]
    )
    assert (0, canary, "") == (result.code, result.stdout, result.stderr)


def test_where_it_has_no_address_or_credential_a_chain_continues(
    program: Program, installed: Path, canary: str
) -> None:
    for missing in ("ACME_ADDR", "ACME_TOKEN"):
        environ = {**with_plugin(installed, "http://127.0.0.1:9", BACKUP=canary), missing: ""}
        result = program("check", "acme:prod,env:BACKUP", env=environ)
        assert (0, "") == (result.code, result.stderr)
        assert f"passed over ({missing} is not set)" in result.stdout


def test_its_credential_does_not_reach_the_command(program: Program, installed: Path, service: str) -> None:
    show = "import os; print(*(name for name in os.environ if name.startswith('ACME_')))"
    environ = with_plugin(installed, service)
    result = program("exec", "acme:prod", "--", sys.executable, "-c", show, env=environ)
    assert (0, "ACME_ADDR\n") == (result.code, result.stdout)


@pytest.mark.parametrize("admin", [{}, {"ASTRO_TOKEN_ADMIN_REF": "acme:admin"}])
def test_its_credential_does_not_reach_the_command_if_another_backend_has_the_token(
    program: Program, installed: Path, canary: str, admin: dict[str, str]
) -> None:
    """It may be the one of the credential that manages tokens."""
    show = "import os; print(*(name for name in os.environ if name.startswith('ACME_')))"
    environ = {**with_plugin(installed, "http://127.0.0.1:9", T=canary), **admin}
    result = program("exec", "env:T", "--", sys.executable, "-c", show, env=environ)
    assert (0, "ACME_ADDR\n", "") == (result.code, result.stdout, result.stderr)


def test_a_plugin_that_cannot_name_its_credentials_stops_the_command_only_if_it_is_in_use(
    program: Program, tmp_path: Path, canary: str
) -> None:
    distribution(tmp_path, "bad", "broken = broken:make")
    (tmp_path / "broken.py").write_text("raise ValueError('secret')\n")
    environ = {"PYTHONPATH": str(tmp_path), "ASTRO_TOKEN_PLUGINS": "bad", "T": canary}
    command = ("exec", "env:T", "--", sys.executable, "-c", "print('started')")
    reason = "the backend for broken failed to start with ValueError"
    unused = program(*command, env=environ)
    warning = f"astro-token: warning: the credentials of the plugin for broken are not withheld: {reason}\n"
    assert (0, "started\n", warning) == (unused.code, unused.stdout, unused.stderr)
    used = program(*command, env={**environ, "ASTRO_TOKEN_ADMIN_REF": "broken:admin"})
    assert (70, "") == (used.code, used.stdout)
    assert used.stderr.startswith(f"astro-token: error: {reason}\n")


def test_without_that_it_is_not_imported(program: Program, installed: Path, service: str) -> None:
    marker = program.work / "imported"
    module = installed / "astro_token_acme.py"
    original = module.read_text()
    module.write_text(f"open({str(marker)!r}, 'w').close()\n" + original)
    try:
        refused = program("check", "acme:prod", env={"PYTHONPATH": str(installed)})
        assert not marker.exists()
        listed = program("backends", env=with_plugin(installed))
        assert not marker.exists(), "listing must not import"
        used = program("check", "acme:prod", env=with_plugin(installed, service))
        assert marker.exists(), "the marker must work"
    finally:
        module.write_text(original)
    assert (78, 0, 0) == (refused.code, listed.code, used.code)
    assert "no backend serves this scheme" in refused.stderr
    assert "acme" in listed.stdout


def test_a_missing_name_ends_as_with_any_backend(program: Program, installed: Path, service: str) -> None:
    result = program("check", "acme:nothing", env=with_plugin(installed, service))
    assert (66, True) == (result.code, "Acme answers with 404" in result.stdout + result.stderr)


def test_a_distribution_that_is_not_installed_is_an_error(program: Program) -> None:
    result = program("check", "acme:x", env={"ASTRO_TOKEN_PLUGINS": NAME})
    assert result.code == 78
    assert "is not installed or has no backend" in result.stderr


def test_two_plugins_cannot_serve_one_scheme(
    program: Program, installed: Path, service: str, tmp_path: Path
) -> None:
    entry_points = "acme = astro_token_acme:AcmeBackend\nother = astro_token_acme:AcmeBackend"
    distribution(tmp_path / "site", "other", entry_points)
    both = {**with_plugin(installed, service), "ASTRO_TOKEN_PLUGINS": f"{NAME},other"}
    both["PYTHONPATH"] = f"{installed}{os.pathsep}{tmp_path / 'site'}"
    result = program("check", "acme:prod", env=both)
    assert (78, "") == (result.code, result.stdout)
    assert "two plugins claim the scheme acme" in result.stderr
    assert result.stderr.count("astro-token: error:") == 1
    other = program("check", "other:prod", env=both)
    assert (0, "") == (other.code, other.stderr)


def test_a_built_in_backend_keeps_its_scheme(
    program: Program, installed: Path, service: str, tmp_path: Path, canary: str
) -> None:
    site = tmp_path / "site"
    distribution(site, "taking", "env = taking:Any")
    (site / "taking.py").write_text("raise AssertionError\n")
    both = {**with_plugin(installed, service), "ASTRO_TOKEN_PLUGINS": f"taking,{NAME}", "T": canary}
    both["PYTHONPATH"] = f"{installed}{os.pathsep}{site}"
    result = program("check", "env:T", "acme:prod", env=both)
    assert (0, "") == (result.code, result.stderr)


BAD = {
    "raise ImportError('secret')": (78, "broken: the Python package of its backend cannot be loaded"),
    "import no_such_package": (78, "broken needs the Python package no_such_package, which is not installed"),
    "raise ValueError('secret')": (70, "the backend for broken failed to start with ValueError"),
    "def make(:": (70, "the backend for broken failed to start with SyntaxError"),
    "other = 1": (70, "the backend for broken failed to start with AttributeError"),
    "make = object": (70, "the plugin for broken has no method `read`"),
    "def make(): raise KeyError('secret')": (70, "the backend for broken failed to start with KeyError"),
    "make = lambda: None": (70, "the plugin for broken has no method `read`"),
    "raise SystemExit(0)": (70, "the backend for broken failed to start with SystemExit"),
}


def test_a_bad_plugin_is_one_clear_line_and_others_are_unaffected(
    program: Program, installed: Path, service: str, tmp_path: Path, canary: str
) -> None:
    site = tmp_path / "bad"
    distribution(site, "bad", "broken = broken:make")
    environ = {**with_plugin(installed, service), "ASTRO_TOKEN_PLUGINS": f"bad,{NAME}", "T": canary}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a second text of the same size and second would not be read
    environ["PYTHONPATH"] = f"{installed}{os.pathsep}{site}"
    for code, (status, message) in BAD.items():
        (site / "broken.py").write_text(f"{code}\n")
        result = program("export", "broken:a", env=environ)
        lines = result.stderr.splitlines()
        assert (status, "", f"astro-token: error: broken:a: {message}") == (
            result.code,
            result.stdout,
            lines[0],
        )
        assert [line for line in lines[1:] if not line.startswith("astro-token: hint: ")] == []
        assert "secret" not in result.stderr
    both = program("check", "acme:prod", "env:T", env=environ)
    assert (0, "") == (both.code, both.stderr)


def test_what_backends_new_writes_passes_the_contract(source: Path, installed: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    pytest_of = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--override-ini",
        "pythonpath=",
    ]
    # In the shared folder, this short session would remove what long ones have left there.
    pytest_of += [f"--basetemp={tmp_path / 'base'}", "--rootdir", str(tmp_path), "-c", os.devnull]
    done = subprocess.run(
        [*pytest_of, str(source / "test_astro_token_acme.py")],
        env=environ, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    tests = [name for name in dir(BackendContract) if name.startswith("test_")]
    assert f"{len(tests)} passed" in done.stdout, done.stdout + done.stderr


# -- the page that the README links --------------------------------------------------------------------

README, PAGE = ((ROOT / name).read_text() for name in ("README.md", "docs/plugins.md"))
SHELL, BY_COMMAND, BY_PLUGIN = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def run_documented(program: Program, commands: str, **environ: str) -> str:
    """Run commands of the page in bash, with an `astro` that shows what it is given."""
    programs = program.folder / "programs"
    programs.mkdir(exist_ok=True)
    shown = "import os, sys; print(*sys.argv[1:], len(os.environ['ASTRO_API_TOKEN']))"
    (programs / "astro").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{shown}" "$@"\n')
    (programs / "astro").chmod(0o755)
    environment = program.environment(environ)
    environment["PATH"] = f"{programs}{os.pathsep}{PROGRAM.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=program.work, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (0, True) == (done.returncode, "error" not in done.stderr), done.stderr
    return done.stdout


def test_the_page_is_short_and_the_readme_links_it() -> None:
    assert len(PAGE.splitlines()) <= 75
    (sentence,) = [line for line in README.splitlines() if "backends new NAME" in line]
    assert sentence.startswith("[Your own backend](docs/plugins.md) takes 3 lines of shell or 25 of Python")


def test_a_backend_in_shell_is_at_most_3_lines_and_the_documented_one_works(
    program: Program, canary: str, tmp_path: Path
) -> None:
    assert len(SHELL.splitlines()) <= 3
    script = tmp_path / "acme-token"
    script.write_text(SHELL)
    script.chmod(0o755)
    acme = tmp_path / "acme"  # the program of the service
    acme.write_text('#!/bin/sh\ntest "$*" = "secrets print prod" && cat "${0}.secret"\n')
    acme.chmod(0o755)
    (tmp_path / "acme.secret").write_text(f"{canary}\n")
    commands = BY_COMMAND.replace("/usr/local/bin/acme-token", str(script))
    assert str(script) in commands
    folders = f"PATH={tmp_path}{os.pathsep}$PATH\n"
    output = run_documented(program, folders + commands, ASTRO_TOKEN_COMMANDS_KEEP="PATH")
    assert f"deploy {len(canary)}\n" == output


def test_a_backend_in_python_is_at_most_25_lines_and_the_documented_one_works(
    program: Program, installed: Path, service: str, canary: str
) -> None:
    (module,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    text = ast.get_docstring(ast.parse(module), clean=False)
    code = module.replace(f'"""{text}"""', "")
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    environ = {**with_plugin(installed, service), "ASTRO_TOKEN_PLUGINS": ""}
    output = run_documented(program, BY_PLUGIN, **environ)
    assert module == (program.work / NAME / "astro_token_acme.py").read_text()
    assert module == (installed / "astro_token_acme.py").read_text()
    printed, shown = output.splitlines()
    assert (True, f"deploy {len(canary)}") == (printed.startswith(f"cd {NAME} && "), shown)


@pytest.mark.long
def test_the_printed_command_runs_the_contract(tmp_path: Path) -> None:
    """It makes an environment, for which packages are downloaded."""
    new = subprocess.run([PROGRAM, "backends", "new", "acme"], cwd=tmp_path, capture_output=True, text=True)
    done = subprocess.run(["sh", "-c", new.stdout], cwd=tmp_path, capture_output=True, text=True)
    tests = [name for name in dir(BackendContract) if name.startswith("test_")]
    assert (0, True) == (done.returncode, f"{len(tests)} passed" in done.stdout), done.stdout + done.stderr


@each_row("scheme", ["none", "true", "route", "client", "service", "secret-value", "test"])
def test_no_name_changes_the_meaning_of_another(scheme: str) -> None:
    """Names of Python, of the imports and of the test's own classes."""
    for file, text in backend_files(scheme).items():
        if file.endswith(".py"):
            names = [
                name
                for node in ast.walk(ast.parse(text))
                for name in (
                    [node.name] if isinstance(node, ast.ClassDef)
                    else [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom)
                    else []
                )
            ]  # fmt: skip
            assert len(names) == len(set(names)), file


def test_without_an_address_or_a_credential_a_chain_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    exec(backend_files("acme")["astro_token_acme.py"], namespace)  # noqa: S102 (it is ours)
    backend, ref = namespace["AcmeBackend"](), SecretRef("acme", "prod")
    with pytest.raises(NoStoreError, match="ACME_ADDR is not set"):
        backend.read(ref, timeout=5)
    monkeypatch.setenv("ACME_ADDR", "http://127.0.0.1:9")
    for token in ("", " \n"):
        monkeypatch.setenv("ACME_TOKEN", token)
        with pytest.raises(NoCredentialError, match="ACME_TOKEN is not set"):
            backend.read(ref, timeout=5)


# -- what `backends new` writes --------------------------------------------------------------------------


def test_backends_new_writes_all_files_and_prints_one_command(program: Program) -> None:
    result = program("backends", "new", "my-store2")
    folder = program.work / "astro-token-my-store2"
    module = "astro_token_my_store2"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "pyproject.toml", f"{module}.py", f"test_{module}.py"
    }  # fmt: skip
    assert (0, 1) == (result.code, len(result.stdout.splitlines()))
    assert f"cd {folder.name} && python3 -m venv" in result.stdout
    command = result.stdout.strip().removeprefix(f"cd {folder.name} && ")
    assert command in (folder / "README.md").read_text()
    assert "class MyStore2Backend:" in (folder / f"{module}.py").read_text()
    assert '"MY_STORE2_TOKEN"' in (folder / f"{module}.py").read_text()
    assert not [
        text
        for text in folder.iterdir()
        if "@" in text.read_text().replace("@pytest", "").replace("@context", "")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new"], "`backends new` needs the name of a backend"),
        (["new", "vault"], "the name vault is reserved"),
        (["new", "keyring"], "the name keyring is reserved"),
        (["new", "astro-api"], "the name astro-api is reserved"),
        (["new", "Acme"], "the name cannot be the scheme of references"),
        (["new", "1st"], "the name cannot be the scheme of references"),
        (["new", "a_b"], "the name cannot be the scheme of references"),
        (["new", "a-"], "the name cannot be the scheme of references"),
        (["new", "../a"], "the name cannot be the scheme of references"),
        (["new", "a" * 33], "the name cannot be the scheme of references"),
        (["old", "acme"], "argument new: invalid choice (choose from new)"),
    ],
)
def test_a_bad_name_writes_nothing(program: Program, arguments: list[str], message: str) -> None:
    result = program("backends", *arguments)
    lines = result.stderr.splitlines()
    assert (64, "", f"astro-token: error: {message}") == (result.code, result.stdout, lines[0])
    assert (2, True) == (len(lines), lines[1].startswith("astro-token: hint: "))
    assert list(program.work.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_overwritten(program: Program, kind: str) -> None:
    there = program.work / NAME
    if kind == "link":
        there.symlink_to("nowhere")
    else:
        (there.mkdir if kind == "folder" else there.touch)()
    result = program("backends", "new", "acme")
    assert (73, "") == (result.code, result.stdout)
    assert f"astro-token: error: {NAME} exists" in result.stderr
    assert [there] == list(program.work.rglob("*"))


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    """The second file is larger than the limit."""
    files = backend_files("acme")
    limit = len(files["pyproject.toml"].encode()) + 10
    done = subprocess.run(
        limited("RLIMIT_FSIZE", limit, str(PROGRAM), "backends", "new", "acme"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    line = f"astro-token: error: {tmp_path / NAME / 'astro_token_acme.py'}: file too large"
    assert (74, "", line) == (done.returncode, done.stdout, done.stderr.splitlines()[0])
    assert not (tmp_path / NAME).exists()


def test_a_plugin_that_ends_the_program_does_not_make_a_job_green(program: Program, tmp_path: Path) -> None:
    site = tmp_path / "site"
    distribution(site, NAME, "acme = ending:make")
    (site / "ending.py").write_text("raise SystemExit(0)\n")
    result = program("exec", "acme:a", "--", "echo", "ran", env=with_plugin(site))
    assert (70, "") == (result.code, result.stdout)
    assert "the backend for acme failed to start with SystemExit" in result.stderr


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
