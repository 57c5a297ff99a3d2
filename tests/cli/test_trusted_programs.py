"""No program of the checkout is started, neither by us nor by an SDK, however PATH is written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from tests.servers.jwks import rsa_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Program, Result

CLOSED = "127.0.0.1:9"
TRAPS = ("astro", "aws", "az", "azd", "buildkite-agent", "docker", "gcloud", "git", "helper", "pwsh", "uname")
PATHS = (":.:./tools:../work", "{work}/tools:{work}/below/../tools:{work}")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, program: Program) -> str:
    """PATH that leads to the traps in the working folder, which is a repository."""
    (program.work / ".git").mkdir()
    for folder in (program.work / "tools", program.work):
        folder.mkdir(exist_ok=True)
        for name in TRAPS:
            trap = folder / name
            trap.write_text(f'#!/bin/sh\necho "$0" >> {program.folder}/ran\n')
            trap.chmod(0o755)
    return f"{request.param.format(work=program.work)}:/usr/bin:/bin"


def ran(program: Program) -> str:
    log = program.folder / "ran"
    return log.read_text() if log.exists() else ""


def service_account() -> dict[str, str]:
    key = rsa_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "a@b.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": f"http://{CLOSED}/token",
    }


def executable(command: str = "helper x") -> dict[str, object]:
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"executable": {"command": command, "timeout_millis": 5000}},
    }


def gcp(content: Callable[[], object]) -> Callable[[Program], dict[str, str]]:
    def arrange(program: Program) -> dict[str, str]:
        file = program.home / "credential.json"
        file.write_text(json.dumps(content()))
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1"}

    return arrange


def profile(command: str = "helper x") -> Callable[[Program], dict[str, str]]:
    def arrange(program: Program) -> dict[str, str]:
        (program.home / ".aws").mkdir()
        process = command.format(work=program.work)
        (program.home / ".aws" / "config").write_text(f"[default]\ncredential_process = {process}\n")
        return {"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}

    return arrange


def developer(program: Program) -> dict[str, str]:
    for name in (".azure", ".azd", ".Azure"):
        (program.home / name).mkdir(exist_ok=True)
    return {"AZURE_TOKEN_CREDENTIALS": "dev"}


AWS = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "y",
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": f"http://{CLOSED}",
}
AZURE = {
    "AZURE_TENANT_ID": "t",
    "AZURE_CLIENT_ID": "c",
    "AZURE_CLIENT_SECRET": "s",
    "AZURE_AUTHORITY_HOST": f"http://{CLOSED}",
}
VAULT = {"VAULT_ADDR": f"http://{CLOSED}", "VAULT_TOKEN": "x"}
READS: dict[str, tuple[str, Callable[[Program], dict[str, str]]]] = {
    # Together, because each is tried until the time is over.
    "closed": ("vault:secret/a aws:name aws-ssm:/name azure:myvault/s", lambda _: {**VAULT, **AWS, **AZURE}),
    "aws-process": ("aws:name", profile()),
    "aws-process-relative": ("aws:name", profile("./helper x")),
    "aws-process-absolute": ("aws:name", profile("{work}/tools/helper x")),
    "gcp": ("gcp:p/s", gcp(service_account)),
    "gcp-executable": ("gcp:p/s", gcp(executable)),
    "gcp-executable-relative": ("gcp:p/s", gcp(lambda: executable("tools/../helper x"))),
    "azure-developer": ("azure:myvault/s", developer),
}


@pytest.mark.parametrize("kind", READS)
def test_a_read_starts_none(kind: str, path: str, program: Program) -> None:
    refs, arrange = READS[kind]
    environ = {"PATH": path, "NO_GCE_CHECK": "true", **arrange(program)}
    result = program("check", "--timeout", "2", *refs.split(), env=environ)
    assert result.code in {69, 75, 76, 77, 78}, result.stderr
    assert "" == ran(program)


def test_nor_does_a_program_that_an_sdk_starts_outside_the_checkout(
    path: str, program: Program, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text(f"#!/bin/sh\necho started > {tmp_path}/started\nhelper x\n")
    outside.chmod(0o755)
    environ = {"PATH": path, **profile(str(outside))(program)}
    assert program("check", "--timeout", "5", "aws:name", env=environ).code in {77, 78}
    assert (tmp_path / "started").exists()
    assert "" == ran(program)


def test_nor_does_doctor(path: str, program: Program, canary: str) -> None:
    environ = {"PATH": path, "TOKEN": canary, "ASTRO_TOKEN_API_URL": f"http://{CLOSED}"}
    result = program("doctor", "--timeout", "2", "--format", "json", "env:TOKEN", env=environ)
    assert json.loads(result.stdout)["platform"]
    assert "" == ran(program)


def test_a_program_that_takes_the_token_is_not_the_checkout_s(
    path: str, program: Program, canary: str
) -> None:
    environ = {"PATH": path, "BUILDKITE": "true", "TOKEN": canary}
    assert 73 == program("export", "env:TOKEN", env=environ).code
    assert "" == ran(program)


def test_a_program_that_gives_the_identity_is_not_either(path: str, program: Program) -> None:
    environ = {
        "PATH": path,
        "BUILDKITE": "true",
        "BUILDKITE_AGENT_ACCESS_TOKEN": "x",
        "BUILDKITE_JOB_ID": "x",
        "VAULT_ADDR": f"http://{CLOSED}",
        "ASTRO_TOKEN_VAULT_AUTH": "jwt",
        "ASTRO_TOKEN_VAULT_ROLE": "r",
    }
    assert program("check", "--timeout", "2", "vault:secret/a", env=environ).code in {77, 78}
    assert "" == ran(program)


def test_the_traps_work(path: str, program: Program) -> None:
    """As they would for a program that looks for others by their names."""
    subprocess.run(["/bin/sh", "-c", "az; uname"], env={"PATH": path}, cwd=program.work, check=True)
    assert ["az", "uname"] == [Path(line).name for line in ran(program).splitlines()]


# -- astro --------------------------------------------------------------------------------------------


def run_astro(program: Program, canary: str, *, name: str = "astro", **environ: str) -> Result:
    given = {"PATH": f"{program.work}/tools:/usr/bin:/bin", "TOKEN": canary, **environ}
    return program("exec", "env:TOKEN", "--", name, "version", env=given)


@pytest.mark.parametrize("path", PATHS[1:], indirect=True)
def test_exec_refuses_an_astro_of_the_checkout_unless_it_is_named_or_accepted(
    path: str, program: Program, canary: str
) -> None:
    tools = f"{program.work}/tools"
    refused = run_astro(program, canary)
    assert (78, "") == (refused.code, ran(program))
    assert f"astro-token: error: the astro on PATH lies in the checkout: {tools}/astro\n" in refused.stderr
    assert "hint: list its folder in ASTRO_TOKEN_PROGRAM_FOLDERS if you trust it" in refused.stderr
    assert 0 == run_astro(program, canary, ASTRO_TOKEN_PROGRAM_FOLDERS=tools).code
    assert 0 == run_astro(program, canary, name="tools/astro").code
    assert 2 == len(ran(program).splitlines())
    wrong = run_astro(program, canary, ASTRO_TOKEN_PROGRAM_FOLDERS="tools")
    assert 78 == wrong.code
    assert "error: ASTRO_TOKEN_PROGRAM_FOLDERS contains a relative folder\n" in wrong.stderr


@pytest.mark.parametrize("path", PATHS[1:], indirect=True)
def test_another_command_of_the_checkout_is_run(path: str, program: Program, canary: str) -> None:
    """The user names it, and a build's own scripts lie in the checkout."""
    assert 0 == run_astro(program, canary, name="helper").code
    assert ran(program)
