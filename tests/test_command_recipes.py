"""
The recipes of docs/commands.md: real programs where a package registry has them, else the arguments.

age and pass come with the system. The long tests install SOPS, Doppler, Bitwarden and Keeper, the last two
without an account: the program takes the arguments, and its refusal is ours. No registry gives `op`,
`akeyless`, `infisical`, `conjur` and gopass, whose name is that of another program in some of them.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendDownError
from astro_token.secrets.ref import SecretRef
from astro_token_backends.command import Command
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SOPS = "github.com/getsops/sops/v3/cmd/sops@v3.10.2"
DOPPLER = "github.com/DopplerHQ/cli@v0.5.11-0.20230908185655-7aef4713e1a4"
BITWARDEN = "@bitwarden/cli@2026.9.0"
KEEPER = "keeper-secrets-manager-cli==1.5.0"
PAGE = (ROOT / "docs" / "commands.md").read_text()
RECIPES = {
    match[1]: match[0] for match in re.finditer(r"(?<=```sh\n)#!/bin/sh\n# ([a-z-]+)\n[^`]+(?=```)", PAGE)
}
NAMES = {match[1]: match[2] for match in re.finditer(r"`command:([a-z]+-token)/([^`]+)`", PAGE)}
# The arguments of the program for the name that the page shows.
ARGUMENTS = {
    "op-token": ["read", "--no-newline", "op://Vault/Item/field"],
    "bw-token": ["--nointeraction", "get", "password", "astro-prod"],
    "doppler-token": ["secrets", "get", "ASTRO_API_TOKEN", "--plain", "--no-check-version"],
    "infisical-token": [
        *("secrets", "get", "ASTRO_API_TOKEN", "--path", "/astro", "--env", "prod"),
        *("--projectId", "a project", "--plain", "--silent"),
    ],
    "gopass-token": ["show", "--password", "astro/prod"],
    "pass-token": ["show", "astro/prod"],
    "sops-token": ["--decrypt", "--extract", '["astro"]["prod"]', "/srv/tokens.yaml"],
    "akeyless-token": ["get-secret-value", "--name", "/astro/prod"],
    "conjur-token": ["variable", "get", "--id", "astro/prod/token"],
    "ksm-token": ["secret", "notation", "keeper://RECORD-UID/field/password"],
    "age-token": ["--decrypt", "--identity", "{home}/.config/age/key.txt", "/srv/prod.token.age"],
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipes, which the environment lists."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, text in RECIPES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS", os.pathsep.join(str(folder / name) for name in RECIPES))
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def read(name: str, timeout: float = 60.0) -> bytes:
    return Command().read(SecretRef.parse(f"command:{name}"), timeout=timeout).reveal()


def test_every_recipe_is_short_and_has_an_example() -> None:
    assert ARGUMENTS.keys() == RECIPES.keys() == NAMES.keys()
    assert [] == [name for name, text in RECIPES.items() if len(text.splitlines()) > 2 + 3]


def test_each_gives_its_program_the_name(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("INFISICAL_PROJECT", "a project")
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "PATH,INFISICAL_PROJECT")
    for recipe, arguments in ARGUMENTS.items():
        program = programs / recipe.removesuffix("-token")
        program.write_text(f"#!{sys.executable} -IS\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        program.chmod(0o755)
        expected = [argument.format(home=tmp_path) for argument in arguments]
        assert expected == json.loads(read(f"{recipe}/{NAMES[recipe]}")), recipe
        hostile = "a$(id)`id`;\"'*/b"
        shown = json.loads(read(f"{recipe}/{hostile}"))
        kept = hostile.partition("/")[0].replace('"', "" if recipe == "sops-token" else '"')
        assert any(kept in text for text in shown), recipe
        assert len(shown) == len(arguments)


def needed(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


def run(*argv: str | Path, stdin: str = "") -> str:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout


def test_age(installed: Path, tmp_path: Path, canary: str) -> None:
    needed("age")
    key = tmp_path / ".config" / "age" / "key.txt"
    key.parent.mkdir(parents=True)
    run("age-keygen", "-o", key)
    run("age", "--encrypt", "-r", run("age-keygen", "-y", key).strip(), "-o", tmp_path / "t", stdin=canary)
    assert canary.encode() == read(f"age-token{tmp_path}/t")


def test_pass(installed: Path, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("pass")
    home = tmp_path / "gnupg"  # the path of an agent's socket must be short
    home.mkdir(mode=0o700)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GNUPGHOME": str(home)}

    def own(*argv: str, stdin: str = "") -> None:
        subprocess.run(argv, env=environ, input=stdin, capture_output=True, text=True, check=True)

    own("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "a@localhost", "default", "default")
    own("pass", "init", "a@localhost")
    own("pass", "insert", "--multiline", "astro/prod", stdin=canary + "\n")
    monkeypatch.setenv("GNUPGHOME", str(home))
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "GNUPGHOME")
    try:
        assert f"{canary}\n".encode() == read("pass-token/astro/prod")
        with pytest.raises(BackendDownError, match="ended with status 1"):
            read("pass-token/astro/nothing")
    finally:
        own("gpgconf", "--kill", "all")


def built(module: str, folder: Path) -> Path:
    """Build a program from its Go module, which takes minutes."""
    environ = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-modcacherw"}  # so that it can be removed
    subprocess.run([needed("go"), "install", module], env=environ, check=True, capture_output=True)
    (program,) = folder.iterdir()
    return program


@pytest.mark.long
def test_sops(installed: Path, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed("age")
    sops = built(SOPS, tmp_path / "bin")
    key, file = tmp_path / "key.txt", tmp_path / "tokens.yaml"
    run("age-keygen", "-o", key)
    file.write_text(f"astro:\n  prod: {canary}\n")
    public = run("age-keygen", "-y", key).strip()
    run(sops, "--encrypt", "--in-place", "--age", public, file)
    assert canary not in file.read_text()
    monkeypatch.setenv("PATH", f"{sops.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(key))
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "PATH,SOPS_AGE_KEY_FILE")
    assert canary.encode() == read(f"sops-token{file}:astro:prod").strip()
    with pytest.raises(BackendDownError):
        read(f"sops-token{file}:astro:nothing")


@pytest.mark.long
def test_doppler(installed: Path, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real program, with a service of ours."""
    credential = f"dp.st.prd.{'a' * 40}"

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_right = self.headers["Authorization"] == f"Bearer {credential}"
            secrets = {"ASTRO_API_TOKEN": {"raw": canary, "computed": canary}}
            content = {"success": is_right, **({"secrets": secrets} if is_right else {"messages": ["no"]})}
            body = json.dumps(content).encode()
            self.send_response(200 if is_right else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    program = built(DOPPLER, tmp_path / "bin")
    program.rename(program.with_name("doppler"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "PATH,DOPPLER_TOKEN,DOPPLER_API_HOST")
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as service:
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("DOPPLER_API_HOST", f"http://127.0.0.1:{service.server_port}")
        monkeypatch.setenv("DOPPLER_TOKEN", credential)
        assert f"{canary}\n".encode() == read("doppler-token/ASTRO_API_TOKEN")
        with pytest.raises(BackendDownError, match="ended with status 1"):
            read("doppler-token/NOTHING")
        monkeypatch.setenv("DOPPLER_TOKEN", credential.upper())
        with pytest.raises(BackendDownError, match="ended with status 1"):
            read("doppler-token/ASTRO_API_TOKEN")
        service.shutdown()


@pytest.mark.long
@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [("bw-token", "You are not logged in."), ("ksm-token", "The INI config might not be set.")],
)
def test_a_program_without_a_login(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, complaint: str
) -> None:
    """It understands the arguments, and says what is missing."""
    programs = tmp_path / "programs"
    programs.mkdir()
    if recipe == "bw-token":
        home = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}  # it has the settings of npm
        npm = [needed("npm"), "install", "--prefix", str(programs), "--no-audit", "--no-fund", BITWARDEN]
        subprocess.run(npm, env=home, capture_output=True, check=True)
        folder = programs / "node_modules" / ".bin"
    else:
        run(sys.executable, "-m", "venv", programs)
        run(programs / "bin" / "python", "-m", "pip", "install", "--quiet", KEEPER)
        folder = programs / "bin"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("ASTRO_TOKEN_COMMANDS_KEEP", "PATH")
    with pytest.raises(BackendDownError, match="ended with status 1"):
        read(f"{recipe}/{NAMES[recipe]}")
    done = subprocess.run(
        [folder / recipe.removesuffix("-token"), *ARGUMENTS[recipe]],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (1, "") == (done.returncode, done.stdout)
    assert complaint in done.stderr
