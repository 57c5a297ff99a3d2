"""The hooks of `.pre-commit-hooks.yaml`: what they find, and what they leave alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from astro_token import pre_commit
from astro_token.testing import appearances, make_token
from tests.conftest import ROOT
from tests.token_files import DETECTED, UNDETECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HINT = (
    "astro-token: hint: remove it, revoke it in Astro if it has left this machine, "
    "and store it with `astro-token put`\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def hook(*arguments: str, canary: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "astro_token.pre_commit", *arguments], capture_output=True, text=True
    )
    if canary:
        assert appearances(canary, done.stdout + done.stderr) == []
    return done.returncode, done.stdout, done.stderr


def findings(capsys: pytest.CaptureFixture[str], canary: str, name: str) -> tuple[int, str, str, str]:
    """
    Scan a file in the tests' own process.

    Returns:
        the status, stdout, the line that is named, and what else is on stderr.
    """
    code = pre_commit.main(["scan", name])
    out, err = capsys.readouterr()
    assert appearances(canary, out + err) == []
    before, _, after = err.partition(f"astro-token: error: {name}:")
    line, _, rest = after.partition(" ")
    return code, out, line, before + rest


FOUND = f"contains an Astro API token\n{HINT}"


def wrapped(data: bytes) -> bytes:
    return base64.encodebytes(data)


def cut(data: bytes, between: bytes, width: int = 76) -> bytes:
    return between.join(data[at : at + width] for at in range(0, len(data), width))


def utf16(data: bytes) -> bytes:
    return data.decode().encode("utf-16-le")


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda token: b"export ASTRO_API_TOKEN=" + token + b"\n",
    "in quotes": lambda token: b'token: "' + token + b'"',
    "base64": lambda token: b"data:\n  token: " + base64.b64encode(token) + b"\n",
    "base64 of more": lambda token: b"x: " + base64.b64encode(b"Bearer " + token + b"\n"),
    "base64 of still more": lambda token: b"x: " + base64.b64encode(b"a Bearer " + token),
    "base64 after letters": lambda token: b"x:\nabc" + base64.b64encode(token),
    "before much more": lambda token: token + b"a" * 20_000,
    "base64url": lambda token: base64.urlsafe_b64encode(b"~~~" + token).rstrip(b"="),
    "base64 in lines": lambda token: b"x:\n" + wrapped(token),
    "in bytes that are no text": lambda token: b"\x00\xff" + token + b"\xff",
    "in lines": lambda token: b"token: >-\n  " + cut(token, b"\n  "),
    "in lines of Windows": lambda token: b"x\n" + cut(token, b"\r\n"),
    "at its dots": lambda token: b"x\n" + token.replace(b".", b".\n"),
    "in strings of Python": lambda token: b'x = (\n    "' + cut(token, b'"\n    "') + b'"\n)',
    "in strings of JavaScript": lambda token: b"x = '" + cut(token, b"' +\n    '") + b"'",
    "in lines of a shell": lambda token: b"x=" + cut(token, b"\\\n"),
    "in a comment": lambda token: b"x\n# " + cut(token, b"\n# "),
    "in lines within JSON": lambda token: b'{"x": "' + cut(token, b"\\n") + b'"}',
    "before more of its letters": lambda token: token + b"_old-eyJ.x",
    "after more of its letters": lambda token: b"prod_keyJar-" + token,
    "after what looks like a part of one": lambda token: b"eyJabcdefghijkl.eyJzzzzzzzzzzz." + token,
    "after much more": lambda token: b"a" * 100_000 + token,
    "base64 in short lines": lambda token: b"x:\n" + cut(base64.b64encode(token), b"\n", 50),
    "base64 in strings": lambda token: b'x = "' + cut(base64.b64encode(token), b'" \\\n  "') + b'"',
    "base64 of UTF-16": lambda token: base64.b64encode(utf16(token)),
    "base64 of base64": lambda token: base64.b64encode(b"token: " + base64.b64encode(token)),
}
# Each with its byte-order mark, and without it.
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig"]


def test_a_token_is_found_in_every_form_and_not_repeated(
    folder: Path, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for form, make in FORMS.items():
        (folder / "a.yaml").write_bytes(b"# one\n# two\n" + make(canary.encode()))
        code, out, line, rest = findings(capsys, canary, "a.yaml")
        found[form] = (code, out, rest, line in {"3", "4"})
    assert dict.fromkeys(FORMS, (73, "", FOUND, True)) == found


def test_a_token_across_the_blocks_that_are_read_is_found(
    folder: Path, canary: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pre_commit, "_BLOCK", 1 << 15)
    (folder / "a").write_bytes(b"\n" + b"a\xff" * ((1 << 14) - 100) + canary.encode())
    assert (73, "", "2", FOUND) == findings(capsys, canary, "a")


def test_the_hook_is_a_program(folder: Path, canary: str) -> None:
    (folder / "a").write_text(canary)
    assert (73, "", f"astro-token: error: a:1 {FOUND}") == hook("scan", "a", canary=canary)


def test_a_token_is_found_in_every_encoding_that_an_editor_writes(
    folder: Path, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for encoding in ENCODINGS:
        (folder / "a.env").write_bytes(f"# one\r\nASTRO_API_TOKEN={canary}\r\n".encode(encoding))
        found[encoding] = findings(capsys, canary, "a.env")
    assert dict.fromkeys(ENCODINGS, (73, "", "2", FOUND)) == found


def test_the_scan_detects_a_token_in_every_kind_of_file(
    folder: Path, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for kind, make in DETECTED.items():
        content = make(canary)
        (folder / "file").write_bytes(content.encode() if isinstance(content, str) else content)
        code, out, _, rest = findings(capsys, canary, "file")
        found[kind] = (code, out, rest)
    assert dict.fromkeys(DETECTED, (73, "", FOUND)) == found


def test_the_documentation_lists_the_kinds_that_the_scan_does_not_detect(
    folder: Path, canary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = (ROOT / "docs" / "pre-commit.md").read_text().partition("does not detect")[2]
    rows = [line.split("|")[1].strip() for line in listed.splitlines() if line.startswith("| ")][1:]
    assert [kind.replace("_", " ") for kind in UNDETECTED] == rows
    for kind, make in UNDETECTED.items():
        content = make(canary)
        (folder / kind).write_bytes(content.encode() if isinstance(content, str) else content)
        assert pre_commit.main(["scan", kind]) == 0
    assert ("", "") == capsys.readouterr()


def jwt(header: Mapping[str, object], claims: Mapping[str, object]) -> str:
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, claims)]
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, os.urandom(256))
    )


FOREIGN: list[dict[str, object]] = [
    {"iss": "https://example.auth0.com/", "exp": 1, "permissions": ["read:users", "write:users"]},
    {"iss": "https://auth.astronomer.io/", "sub": "auth0|1", "exp": 1, "scope": "openid", "permissions": []},
    {"iss": "https://token.actions.githubusercontent.com", "sub": "repo:a/b:ref:refs/heads/main", "exp": 1},
    {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:a:b"},
    {"permissions": "organizationId:clorg1"},
    {"permissions": {"organizationId": "clorg1"}},
    {"permissions": ["organizationId"]},
]


@pytest.mark.parametrize(
    "every", [len(FOREIGN), pytest.param(1, marks=pytest.mark.long)], ids=["once", "all"]
)
def test_the_tokens_of_other_services_are_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], every: int
) -> None:
    """Each of them in some kinds of files, and each kind with one or two of them; or all with all."""
    headers = ({"alg": "RS256", "typ": "JWT"}, {"typ": "JWT", "alg": "ES256", "kid": "1"})
    tokens = [jwt(header, claims) for header in headers for claims in FOREIGN]
    tried = set()
    for number, (kind, make) in enumerate(DETECTED.items()):
        for at in range(number % every, len(tokens), every):
            content = make(tokens[at])
            (folder / kind).write_bytes(content.encode() if isinstance(content, str) else content)
            assert pre_commit.main(["scan", kind]) == 0, (kind, at)
            tried.add(at)
    assert len(tried) == len(tokens)
    assert ("", "") == capsys.readouterr()


@pytest.mark.parametrize("every", [50, pytest.param(1, marks=pytest.mark.long)])
def test_ordinary_source_code_is_left_alone(capsys: pytest.CaptureFixture[str], every: int) -> None:
    """The standard library, all installed packages, and this project."""
    folders = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    names = [str(path) for folder in folders for path in sorted(folder.rglob("*.py"))][::every]
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names += [str(ROOT / name) for name in tracked.stdout.split("\0") if (ROOT / name).is_file()][::5]
    assert len(names) > 200
    assert (0, ("", "")) == (pre_commit.main(["scan", *names]), capsys.readouterr())


def test_a_token_is_in_the_line_where_it_begins(
    folder: Path, canary: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pre_commit, "_BLOCK", 1 << 15)  # what is read at once
    for line in (1, 2, 1 << 15, 70_000):
        (folder / "a").write_text("\n" * (line - 1) + cut(canary.encode(), b"\n").decode())
        assert 73 == pre_commit.main(["scan", "a"])
        assert f"error: a:{line} contains an Astro API token" in capsys.readouterr().err


def test_a_file_whose_name_is_a_token_is_not_named(folder: Path, canary: str) -> None:
    error = f"astro-token: error: the name of a file contains an Astro API token\n{HINT}"
    for name in (canary, f"tokens/{canary}.txt"):  # some are too long for a name, and then there is no file
        assert (73, "", error) == hook("scan", name, canary=canary)


def test_a_name_of_two_lines_is_told_in_one(folder: Path, canary: str) -> None:
    (folder / "a\nb::error::x").write_text(canary)
    assert (
        hook("scan", "a\nb::error::x")[2]
        == f"astro-token: error: a?b::error::x:1 contains an Astro API token\n{HINT}"
    )


def test_what_is_committed_of_a_link_is_its_target(folder: Path, canary: str) -> None:
    (folder / "link").symlink_to(canary)
    assert (
        hook("scan", "link", canary=canary)[2]
        == f"astro-token: error: link:1 contains an Astro API token\n{HINT}"
    )


def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert (74, "") == hook("scan", "pipe")[:2]


@pytest.mark.parametrize("hooked", ["scan", "config"])
def test_nothing_of_the_repository_is_run(folder: Path, hooked: str) -> None:
    """A module of the standard library's name would be imported from the folder that Python starts in."""
    entries = {
        entry["id"]: entry["entry"] for entry in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    }
    program, *options = entries[f"astro-token-{hooked}"].split()
    for name in ("base64", "tomllib", "platform", "token", "secrets", "astro_token"):
        (folder / f"{name}.py").write_text("import sys; sys.exit('the repository was run')")
    (folder / "astro-token.toml").write_text("")
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *options, "astro-token.toml"], capture_output=True, text=True, env=os.environ
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


SLOW = """
import resource, sys
from astro_token.pre_commit import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert main(["scan", "big"]) == 0
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime, (used.ru_maxrss - before) // 1024)
"""


# Each with a size; what is quadratic takes minutes in either.
HEAVY: list[Callable[[int], bytes]] = [
    lambda size: b"eyJaaaaaaaa" * (size // 2),
    lambda size: b"eyJaaaaaaaaaaaa." * (size * 3 // 10),
    lambda size: base64.encodebytes(bytes(range(256)) * (size // 60)),
    lambda size: b"eyJa" * size + b".eyJ" + base64.b64encode(b'   "permissions') + b".aaaaaaaa",
    lambda size: b" " * (5 * size),
    lambda size: b'"' * (5 * size),
    lambda size: b"a" * (5 * size),
    lambda size: b"/" * (2 * size) + b"\\n" * size,
    lambda _: b"\0" * 50_000_000,  # for its memory
    lambda size: b"abcdefgh" * 32 * (size // 50) + b"~",
    # The next ones look like the beginning of a token, so that all is undone and joined.
    lambda size: b"eyJ" + b"\\" * size,
    lambda size: b"65794a" + b"25" * (size * 2 // 5),
    lambda size: b"eyJ\n" + b"- " * (size // 2) + b"_-" * (size // 2),
    lambda size: (b"eyJhbGciOiJSUzI1NiJ9" * 10 + b"cGVybWlzc2lvbnM") * (size * 3 // 1000),
    lambda size: b"eyJ" + b"eyJhbGciOiJSUzI1NiJ9eyJwZXJtaXNzaW9ucyI6MX0" * (size // 200),
    lambda size: (
        b"eyJhbGciOiJSUzI1NiJ9" + base64.b64encode(b'{"permissions":' + b"[" * 9000) * (size // 10_000)
    ),
    lambda size: b"65 79 4a aa aa aa aa zz " * (size * 3 // 100),
]


@pytest.mark.parametrize("size", [250_000, pytest.param(1_000_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("make", HEAVY, ids=range(len(HEAVY)))
def test_no_file_takes_long_or_much_memory(folder: Path, make: Callable[[int], bytes], size: int) -> None:
    (folder / "big").write_bytes(make(size))
    done = subprocess.run(
        [sys.executable, "-I", "-c", SLOW], capture_output=True, text=True, timeout=40, check=True
    )
    seconds, megabytes = done.stdout.split()
    assert float(seconds) < size / 100_000
    assert int(megabytes) < 150


def test_the_permissions_may_stand_anywhere_in_a_token(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for before in range(3):
        claims = f'{{"x":"{"x" * before}","permissions":["organizationId:clorg1"]}}'
        parts = ['{"alg":"RS256"}', claims, "a signature"]
        (folder / "a").write_text(
            ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
        )
        assert (73, "", "1", FOUND) == findings(capsys, "".join(parts), "a")


@pytest.mark.long
def test_a_file_of_50_megabytes_is_read_within_seconds(folder: Path, canary: str) -> None:
    """Of each kind that needs the most work: nearly a token, base64 of anything, and many lines."""
    for piece in (
        b"eyJhbGciOiJSUzI1NiJ9cGVybWlzc2lvbnM.",
        base64.encodebytes(bytes(range(256))),
        b"a = eyJ\n",
    ):
        content = piece * (50_000_000 // len(piece))
        (folder / "big").write_bytes(content + b"\n" + canary.encode())
        before = time.process_time()
        assert pre_commit.main(["scan", "big"]) == 73
        assert time.process_time() - before < 60


def test_every_file_is_looked_at_and_named(folder: Path, canary: str) -> None:
    (folder / "fine").write_text("nothing")
    for name in ("a", "b"):
        (folder / name).write_text(canary)
    code, _, err = hook("scan", "a", "fine", "b", "gone")
    assert code == 73
    errors = [line.partition("error: ")[2] for line in err.splitlines() if "error: " in line]
    assert errors == [
        "a:1 contains an Astro API token",
        "b:1 contains an Astro API token",
        "gone: the file cannot be read (FileNotFoundError)",
    ]


def test_other_things_are_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        "",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",  # a JWT of somebody else's
        "A" * 5000,
        base64.b64encode(bytes(range(256)) * 8).decode(),
        "ASTRO_API_TOKEN=$(cat token)",
        make_token().rpartition(".")[0],  # a cut token is none
    ]
    for number, text in enumerate(texts):
        (folder / "file").write_text(text)
        assert (number, 0) == (number, pre_commit.main(["scan", "file"]))
    assert ("", "") == capsys.readouterr()


def test_a_link_is_not_followed(folder: Path, tmp_path: Path, canary: str) -> None:
    (tmp_path / "token").write_text(canary)
    (folder / "link").symlink_to(tmp_path / "token")
    assert hook("scan", "link") == (0, "", "")


def test_a_projects_file_that_is_wrong_is_told(folder: Path) -> None:
    file = folder / "astro-token.toml"
    file.write_text('[tokens.prod]\nref = "env:X"\n')
    file.chmod(0o600)
    assert hook("config", "astro-token.toml") == (0, "", "")
    file.write_text('[tokens.prod]\nreff = "env:X"\n')
    code, out, err = hook("config", "astro-token.toml")
    assert (78, "", True) == (code, out, "astro-token.toml" in err)


def test_an_unknown_hook_is_a_mistake() -> None:
    assert hook("none")[0] == 64


# -- the program pre-commit -----------------------------------------------------------------------------


def test_pre_commit_installs_and_runs_the_hooks(tmp_path: Path, canary: str) -> None:
    """As a team does it: from a repository, into an environment of its own, with the published entries."""
    source, work, home = (tmp_path / name for name in ("source", "checkout", "home"))
    packages = sysconfig.get_path("purelib")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PRE_COMMIT_HOME": str(home / "pre-commit"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a",
        "GIT_COMMITTER_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    # Without a package index: the hooks need no dependency, and what builds us is installed here.
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_COMPILE": "1",
        "PYTHONPATH": packages,
    }

    def run(*command: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=work, env={**environ, **more}, capture_output=True, text=True, timeout=120
        )
        assert appearances(canary, done.stdout + done.stderr) == []
        return done.returncode, done.stdout + done.stderr

    def pre_commit_run(**more: str) -> tuple[int, str]:
        assert run("git", "add", "-A")[0] == 0
        return run(sys.executable, "-I", "-m", "pre_commit", "run", "--all-files", **more)

    home.mkdir(exist_ok=True)
    work.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split("\0"):
        if name.startswith(("core/", "backends/")) or (name and "/" not in name):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    for command in ("init -q", "add -A", "commit -qm all", "tag v0"):
        assert run("git", "-C", str(source), *command.split())[0] == 0
    hooks = [{"id": "astro-token-config"}, {"id": "astro-token-scan"}]
    config = {"repos": [{"repo": str(source), "rev": "v0", "hooks": hooks}]}
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    project = work / "astro-token.toml"
    project.write_text('[tokens.prod]\nref = "env:SECRET"\n')
    project.chmod(0o600)
    assert run("git", "init", "-q")[0] == 0

    code, output = pre_commit_run(**offline)
    assert (0, 2) == (code, output.count("Passed")), output
    # A module of the checkout, in programs that do not isolate themselves.
    (work / "sitecustomize.py").write_text(
        "import sys\nwith open('run', 'a') as file: file.write(' '.join(sys.orig_argv) + '\\n')\n"
    )
    code, output = pre_commit_run(PYTHONPATH=".")
    assert (0, 2) == (code, output.count("Passed")), output
    assert run(sys.executable, "-c", "", PYTHONPATH=".")[0] == 0
    assert [f"{sys.executable} -c "] == (work / "run").read_text().splitlines()

    (work / "notes.txt").write_text(f"token: {canary}\n")
    code, output = pre_commit_run()
    assert (1, 1, True) == (code, output.count("Passed"), "error: notes.txt:1 contains an Astro" in output)
    (work / "notes.txt").unlink()
    project.write_text('[tokens.prod]\nreff = "env:SECRET"\n')
    code, output = pre_commit_run()
    assert (1, 1, True) == (code, output.count("Passed"), "reff" in output), output
