"""No SDK reads standard input or the terminal, which belong to the command."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, Result
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Program

REFUSED = (
    "astro-token: error: aws:prod: the AWS profile requires an MFA code (mfa_serial), "
    "and astro-token does not ask for it\n"
    "astro-token: hint: log in first, for example with `aws sts get-session-token`, "
    "and set the temporary credentials, or set AWS_PROFILE to a profile without mfa_serial\n"
)


@pytest.fixture
def aws(program: Program, canary: str) -> Iterator[FaultServer]:
    """A service that gives anybody the token, or any other answer."""
    secret = {"ARN": "arn", "Name": "prod", "VersionId": "v" * 32, "SecretString": canary}
    with FaultServer(lambda _: Answer.json(secret)) as server:
        config = program.work / "aws-config"
        config.write_text(
            "[profile mfa]\nrole_arn = arn:aws:iam::123456789012:role/deploy\nsource_profile = base\n"
            "mfa_serial = arn:aws:iam::123456789012:mfa/someone\n"
            "[profile base]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n"
        )
        program.environ |= {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_PROFILE": "mfa",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield server


@pytest.mark.parametrize(
    "arguments", [["put", "aws:prod"], ["check", "aws:prod"], ["exec", "aws:prod", "--", "cat"]]
)
def test_a_profile_that_requires_an_mfa_code_is_refused(
    program: Program, aws: FaultServer, canary: str, arguments: list[str]
) -> None:
    result = program(*arguments, stdin=f"{canary}\n" * 3)
    assert (77, []) == (result.code, aws.requests)
    assert "requires an MFA code" in result.stdout + result.stderr
    if arguments[0] != "check":
        assert Result(77, "", REFUSED) == result


def test_it_leaves_standard_input_to_the_next_command(
    program: Program, aws: FaultServer, canary: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{PROGRAM} exec aws:prod -- cat; echo $?; exec cat"],
        env=program.environment(),
        input=f"{canary}\n",
        capture_output=True,
        text=True,
        cwd=program.work,
    )
    assert (f"77\n{canary}\n", []) == (done.stdout, aws.requests)


def test_it_leaves_the_terminal_alone(program: Program, aws: FaultServer) -> None:
    command = [str(PROGRAM), "exec", "aws:prod", "--", "cat"]
    with Terminal(command, env=program.environment(), cwd=program.work) as terminal:
        assert 77 == terminal.finish()
        assert "requires an MFA code" in terminal.shown
        assert "Enter MFA code" not in terminal.shown
        assert terminal.echoes()
    assert [] == aws.requests


@pytest.mark.parametrize("profile", ["process", "role"])
def test_a_credential_process_has_no_standard_input(program: Program, aws: FaultServer, profile: str) -> None:
    key = {"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "secret"}
    script = program.work / "process"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nassert not sys.stdin.read()\nprint({json.dumps(key)!r})\n"
    )
    script.chmod(0o700)
    config = program.work / "aws-config"
    config.write_text(
        f"[profile process]\ncredential_process = {script}\n"
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/deploy\nsource_profile = process\n"
    )
    program.environ["AWS_PROFILE"] = profile
    result = program("exec", "aws:prod", "--", "cat", stdin="for the child\n")
    if profile == "process":
        assert Result(0, "for the child\n", "") == result
    else:  # the service gives no role, but the program's key was sent to it
        assert 1 == len(aws.requests)
