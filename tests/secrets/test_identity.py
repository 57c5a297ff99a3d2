"""The identity of a secret: one text for all spellings of its reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from astro_token.secrets.identity import identity
from astro_token.secrets.ref import SecretRef

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro/prod"
OTHER_ACCOUNT = ARN.replace("123456789012", "210987654321")
SSM = "arn:aws:ssm:eu-west-1:123456789012:parameter"
LONG = "gcp:projects/my-project/secrets/astro-prod"
REGIONAL = "gcp:projects/my-project/locations/europe-west1/secrets/astro-prod"
URL = "azure:https://my-vault.vault.azure.net/secrets/astro-prod"

SAME = [
    ("vault:secret/astro/prod", "vault://secret/astro/prod?kv=2#token"),
    ("vault:secret/astro/prod", "vault:secret/astro/prod?namespace=team/ci"),  # as VAULT_NAMESPACE
    ("vault:secret/astro/prod?namespace=ops/", "vault:secret/astro/prod?kv=2&namespace=ops"),
    ("aws:astro/prod", "aws:astro/prod?region=eu-west-1"),  # as AWS_REGION
    (f"aws:{ARN}", f"aws:{ARN}-AbCd12"),
    ("aws-ssm:/astro/prod", "aws-ssm:/astro/prod?region=eu-west-1"),
    ("aws-ssm:/astro/prod", f"aws-ssm:{SSM}/astro/prod"),
    ("gcp:my-project/astro-prod", LONG),
    ("gcp:my-project/astro-prod", "gcp:my-project/astro-prod?version=latest"),
    (LONG, f"{LONG}/versions/latest"),
    ("azure:my-vault/astro-prod", URL),
    ("azure:my-vault/astro-prod", "azure:My-Vault/Astro-Prod"),
    (URL, URL.replace("my-vault", "MY-VAULT")),
    ("file:prod.age", "file:./prod.age#token"),
    ("file:prod.age", "file:link.age"),
    ("plugin:prod?b=1&a=2", "plugin:prod?a=2&b=1"),
]
OTHERS = [
    ("vault:secret/astro/prod", "vault:secret/astro/prod?namespace=other"),
    ("vault:secret/astro/prod", "vault:secret/astro/prod#second"),
    ("vault:secret/astro/prod", "vault:kv/astro/prod"),
    ("aws:astro/prod", "aws:astro/prod?region=us-east-1"),
    ("aws:astro/prod", f"aws:{ARN}"),  # it can be of another account
    (f"aws:{ARN}", f"aws:{OTHER_ACCOUNT}"),
    ("aws:astro/prod", "aws-ssm:astro/prod"),
    ("aws-ssm:/prod", f"aws-ssm:{SSM}/prod"),  # it can be the ARN of `prod`
    ("aws-ssm:/prod", "aws-ssm:prod"),
    ("gcp:my-project/astro-prod", "gcp:other-project/astro-prod"),
    (LONG, REGIONAL),
    ("azure:my-vault/astro-prod", "azure:my-vault/astro-dev"),
    ("azure:my-vault/astro-prod", "azure:other-vault/astro-prod"),
    ("file:prod.age", "file:other.age"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AZURE_AUTHORITY_HOST", "ASTRO_TOKEN_AZURE_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAULT_NAMESPACE", "/team/ci/")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.chdir(tmp_path)
    Path("link.age").symlink_to("prod.age")


def of(text: str) -> str:
    return identity(SecretRef.parse(text))


@pytest.mark.parametrize(("first", "second"), SAME)
def test_two_spellings_of_a_secret_are_the_same(first: str, second: str) -> None:
    assert of(first) == of(second)


@pytest.mark.parametrize(("first", "second"), OTHERS)
def test_two_secrets_differ(first: str, second: str) -> None:
    assert of(first) != of(second)


def test_an_absolute_path_is_the_relative_one() -> None:
    assert of("file:prod.age") == of(f"file:{Path.cwd()}/prod.age")


def test_a_setting_that_cannot_be_used_leaves_the_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the secret tells what is wrong."""
    monkeypatch.setenv("VAULT_NAMESPACE", "../x")
    host = "azure:https://vault.example.com/secrets/prod"
    assert ("vault:vault:secret/prod#", f"azure:{host}#") == (of("vault:secret/prod"), of(host))


def test_without_a_region_the_profile_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    assert of("aws:prod") == of("aws:prod#token") != of("aws:prod?region=eu-west-1")
