"""The hooks of `.pre-commit-hooks.yaml`: what they find, and what they leave alone."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import appearances, make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HINT = (
    "astro-token: hint: take it out, revoke it in Astro if it has left this machine, "
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
        [sys.executable, "-m", "astro_token.pre_commit", *arguments], capture_output=True, text=True
    )
    if canary:
        assert appearances(canary, done.stdout + done.stderr) == []
    return done.returncode, done.stdout, done.stderr


def wrapped(data: bytes) -> bytes:
    return base64.encodebytes(data)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda token: b"export ASTRO_API_TOKEN=" + token + b"\n",
    "in quotes": lambda token: b'token: "' + token + b'"',
    "base64": lambda token: b"data:\n  token: " + base64.b64encode(token) + b"\n",
    "base64 of more": lambda token: b"x: " + base64.b64encode(b"Bearer " + token + b"\n"),
    "base64 of still more": lambda token: b"x: " + base64.b64encode(b"a Bearer " + token),
    "base64url": lambda token: base64.urlsafe_b64encode(b"~~~" + token).rstrip(b"="),
    "base64 in lines": lambda token: b"x\n" + wrapped(token),
    "in bytes that are no text": lambda token: b"\x00\xff" + token + b"\xff",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_token_is_found_and_not_repeated(folder: Path, canary: str, form: str) -> None:
    (folder / "a.yaml").write_bytes(b"# one\n# two\n" + FORMS[form](canary.encode()))
    code, out, err = hook("scan", "a.yaml", canary=canary)
    assert (73, "", True) == (code, out, err.startswith("astro-token: error: a.yaml:"))
    assert err.endswith(f": an Astro API token\n{HINT}")
    place = err.partition("a.yaml:")[2].partition(":")[0]
    assert 3 <= int(place) <= 4


def test_every_file_is_looked_at_and_named(folder: Path, canary: str) -> None:
    (folder / "fine").write_text("nothing")
    for name in ("a", "b"):
        (folder / name).write_text(canary)
    code, _, err = hook("scan", "a", "fine", "b", "gone")
    assert code == 73
    errors = [line.partition("error: ")[2] for line in err.splitlines() if "error: " in line]
    assert errors == [
        "a:1: an Astro API token",
        "b:1: an Astro API token",
        "gone: the file cannot be read (FileNotFoundError)",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",  # a JWT of somebody else's
        "A" * 5000,
        base64.b64encode(bytes(range(256)) * 8).decode(),
        "ASTRO_API_TOKEN=$(cat token)",
    ],
)
def test_other_things_are_left_alone(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)
    assert hook("scan", "file") == (0, "", "")


def test_a_cut_token_is_none(folder: Path) -> None:
    (folder / "file").write_text(make_token().rpartition(".")[0])
    assert hook("scan", "file") == (0, "", "")


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
