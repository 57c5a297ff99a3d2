"""The rules for secret scanners find every Astro token, and no other JWT."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from astro_token.testing import make_token
from tests.conftest import ROOT

FOLDER = ROOT / "examples" / "secret-scanning"
RULE = tomllib.loads((FOLDER / "gitleaks.toml").read_text())["rules"][0]
EXPRESSION = re.compile(RULE["regex"])


def jwt(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    encoded = [
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(64))
    ]
    return ".".join(encoded)


def tokens() -> list[str]:
    """Each claim that the rule looks for, alone and at each of the three positions of base64."""
    made = [make_token(), make_token(expires_in=None), make_token(deployment="cldep00000000000000000")]
    for shift in range(6):
        first = {"a" * (shift + 1): 1}
        made.append(jwt({**first, "apiTokenId": f"cltk{secrets.token_hex(10)}"}))
        made.append(jwt({**first, "isAstronomerGenerated": True, "version": "1"}))
    return made


def harmless() -> list[str]:
    claims: list[dict[str, Any]] = [
        {"sub": "1234567890", "name": "John Doe", "iat": 1516239022},
        {
            "iss": "https://token.actions.githubusercontent.com",
            "aud": "https://vault.example.com",
            "sub": "repo:a/b",
        },
        {"apiTokenIds": 1, "iat": 1},
        {"isAstronomer": True},
        {"permissions": ["organizationId:clorg0000000000000000"]},
    ]
    made = [jwt(each) for each in claims]
    damaged = make_token().rpartition(".")[0]
    return [
        *made,
        damaged,
        f"{damaged}.",
        "vault:secret/astro/prod#token",
        "apiTokenId",
        "isAstronomerGenerated",
    ]


def contexts(text: str) -> list[str]:
    return [
        text, f"ASTRO_API_TOKEN={text}\n", f'token: "{text}"', f"Authorization: Bearer {text}",
        f"https://example.com/?token={text}&x=1", f"<b>{text}</b>", json.dumps({"a": [text]}),
    ]  # fmt: skip


def test_the_expression_matches_every_token_and_all_of_it() -> None:
    for token in tokens():
        for text in contexts(token):
            assert [token] == EXPRESSION.findall(text)


def test_the_expression_matches_nothing_else() -> None:
    for text in harmless():
        for context in contexts(text):
            assert [] == EXPRESSION.findall(context), text


def test_both_scanners_have_the_same_rule() -> None:
    detector = yaml.safe_load((FOLDER / "trufflehog.yaml").read_text())["detectors"][0]
    assert {"token": RULE["regex"]} == detector["regex"]
    assert ["eyJ"] == detector["keywords"]
    assert ["eyj"] == RULE["keywords"]


@pytest.mark.long
def test_gitleaks_reports_the_tokens_and_nothing_else(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    program = tmp_path / "gitleaks"
    # Its checksum is in Go's own database of checksums.
    environ = {**os.environ, "GOBIN": str(tmp_path), "GOFLAGS": "-mod=mod"}
    build = [go, "install", "github.com/zricethezav/gitleaks/v8@v8.30.1"]
    subprocess.run(build, env=environ, check=True, capture_output=True)
    files = tmp_path / "files"
    files.mkdir()
    expected = {}
    for number, token in enumerate(tokens()):
        for position, text in enumerate(contexts(token)):
            name = f"token-{number}-{position}.txt"
            (files / name).write_text(text)
            expected[name] = token
    for number, text in enumerate(harmless()):
        (files / f"harmless-{number}.txt").write_text("\n".join(contexts(text)))
    report = tmp_path / "report.json"
    command: list[str | Path] = [
        program,
        "dir",
        "--config",
        FOLDER / "gitleaks.toml",
        "--report-format",
        "json",
        "--report-path",
        report,
    ]
    done = subprocess.run([*command, "--no-banner", files], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    reported = {
        Path(row["File"]).name: (row["RuleID"], row["Secret"]) for row in json.loads(report.read_text())
    }
    assert {name: ("astro-api-token", token) for name, token in expected.items()} == reported
