"""A variable names a file that never ends: its backend says so at once, and does not fill the memory."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAM
from tests.machine import limited

if TYPE_CHECKING:
    from tests.conftest import Program

ENDLESS = "/dev/zero"
MEMORY = 4 << 30  # bytes, of address space
APPLICATION = dict.fromkeys(("AZURE_TENANT_ID", "AZURE_CLIENT_ID"), "305677d0-9ebe-4060-b552-34bb243861a8")
VAULT = {"VAULT_ADDR": "https://127.0.0.1:1", "ASTRO_TOKEN_VAULT_ROLE": "deploy"}
KUBERNETES = {**VAULT, "ASTRO_TOKEN_VAULT_AUTH": "kubernetes"}
ROLE = {"AWS_REGION": "eu-west-1", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deploy"}
CONTAINER = {**ROLE, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}


@pytest.mark.parametrize(
    ("ref", "variable", "environ", "code"),
    [
        ("vault:a/b#c", "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE", KUBERNETES, 77),
        ("vault:a/b#c", "GOOGLE_APPLICATION_CREDENTIALS", {**VAULT, "ASTRO_TOKEN_VAULT_AUTH": "gcp"}, 78),
        ("aws:a", "AWS_WEB_IDENTITY_TOKEN_FILE", ROLE, 78),
        ("aws:a", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", CONTAINER, 78),
        ("gcp:project/s", "GOOGLE_APPLICATION_CREDENTIALS", {}, 77),
        ("azure:vault/s", "AZURE_FEDERATED_TOKEN_FILE", APPLICATION, 78),
        ("azure:vault/s", "AZURE_CLIENT_CERTIFICATE_PATH", APPLICATION, 78),
    ],
)  # fmt: skip
def test_a_file_without_an_end_is_not_read_to_its_end(
    program: Program, ref: str, variable: str, environ: dict[str, str], code: int
) -> None:
    ran = subprocess.run(
        limited("RLIMIT_AS", MEMORY, str(PROGRAM), "export", "--format", "value", ref),
        env=program.environment({"AWS_EC2_METADATA_DISABLED": "true", **environ, variable: ENDLESS}),
        cwd=program.work,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (code, "") == (ran.returncode, ran.stdout), ran.stderr
    error, hint = ran.stderr.splitlines()
    assert error.startswith(f"astro-token: error: {ref}: ")
    assert variable in error + hint
