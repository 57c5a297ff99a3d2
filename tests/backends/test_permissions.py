"""The permissions that the documentation lists for a command are those that a denial names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from astro_token_backends.aws.errors import refused
from astro_token_backends.azure import key_vault, keys
from astro_token_backends.gcp import parameter_manager

DOCS = Path(__file__).parents[2] / "docs"
ACTION = re.compile(
    r"[A-Za-z]+:[A-Za-z]+|(?:secretmanager|parametermanager|cloudkms)\.[a-zA-Z.]+|Microsoft\.[A-Za-z/]+"
)
READING = "`exec`, `export`, `check`, `doctor`"


def section(page: str) -> str:
    text = (DOCS / f"{page}.md").read_text()
    return text.partition("\n## Least permissions\n")[2].partition("\n## ")[0]


def listed(page: str) -> dict[str, set[str]]:
    """The permissions of each row of the table, by the commands in its first column."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section(page), re.MULTILINE)
    return {commands: set(ACTION.findall(rest)) for commands, rest in rows}


def test_of_aws() -> None:
    reading = {"secretsmanager:GetSecretValue", "ssm:GetParameter"}
    writing = {
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
        "ssm:PutParameter",
        "ssm:DescribeParameters",
    }
    rows = listed("aws")
    assert reading | {"kms:Decrypt"} == rows[READING]
    assert reading | writing | {"kms:Encrypt"} == rows["`put`"]
    for action in {*rows[READING], *rows["`put`"]}:
        hint = str(refused("AccessDeniedException", action.partition(":")[2]).hint)
        assert f"allow {action}" in hint
        assert "Describe" not in hint.replace("ssm:DescribeParameters", "")


def test_of_google() -> None:
    rows = listed("gcp")
    assert {"secretmanager.versions.access", "secretmanager.secretAccessor"} == rows[READING]
    assert {"secretmanager.versions.add", "secretmanager.secretVersionAdder"} == rows["`put`"]
    render = {"parametermanager.parameterVersions.render", "parametermanager.parameterAccessor"}
    assert render == rows["reading with `gcp-pm:…`"]
    assert render == {parameter_manager._READ.name, parameter_manager._READ.role.removeprefix("roles/")}


def test_of_azure() -> None:
    rows = listed("azure")
    get, unwrap, wrap = (
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/keys/unwrap/action",
        "Microsoft.KeyVault/vaults/keys/wrap/action",
    )
    put = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
    assert {get} == rows[READING]
    assert {put} == rows["`put`"]
    assert {unwrap} == rows["reading with `--decrypt azure-keys:…`"]
    assert {wrap} == rows["`put --decrypt azure-keys:…`"]
    named = (key_vault._GET, key_vault._SET, keys._UNWRAP, keys._WRAP)
    assert [True] * 4 == [
        hint.startswith(one) for hint, one in zip(named, (get, put, unwrap, wrap), strict=True)
    ]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("vault", ["secret/metadata/"]),
        ("aws", ["secretsmanager:DescribeSecret"]),
        ("gcp", ["secretmanager.versions.get", "secretmanager.secrets.get"]),
        ("azure", ["readMetadata"]),
    ],
)
def test_what_only_describe_needs_is_said_to_be_needed_by_no_command(page: str, words: list[str]) -> None:
    text = " ".join(section(page).split())
    sentence = re.findall(r"No command needs .*?: only `describe`, of the library's backend, [^.]*\.", text)
    assert 1 == len(sentence)
    for word in words:
        assert word in sentence[0]
        assert 1 == text.count(word)
