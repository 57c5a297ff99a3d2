"""No SDK reads standard input, which belongs to the command. A person is prompted at the terminal, by us."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, Result
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Program

REFUSED = (
    "astro-token: error: aws:prod: the AWS profile requires an MFA code (mfa_serial), "
    "and no person can be prompted for it\n"
    "astro-token: hint: run it at a terminal, or log in first, for example with `aws sts get-session-token`, "
    "and set the temporary credentials, or set AWS_PROFILE to a profile without mfa_serial\n"
)
ROLE = Answer(
    body=b"<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>"
    b"<AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>of-the-role</SecretAccessKey>"
    b"<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
    b"</Credentials></AssumeRoleResult></AssumeRoleResponse>",
    headers={"Content-Type": "text/xml"},
)
SERIAL = "arn:aws:iam::123456789012:mfa/someone"
ASKED = f"MFA code for {SERIAL}"


def holding(token: str) -> Answer:
    return Answer.json({"ARN": "arn", "Name": "prod", "VersionId": "v" * 32, "SecretString": token})


@pytest.fixture
def aws(program: Program, canary: str) -> Iterator[FaultServer]:
    """STS gives anybody the role, and Secrets Manager gives it the token."""
    with FaultServer(lambda number: ROLE if number == 1 else holding(canary)) as server:
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


@pytest.fixture
def at(program: Program, aws: FaultServer) -> Iterator[Terminal]:
    """`exec` at a terminal, with another standard input and less time than a person needs."""
    line = (
        f"echo for the child | {PROGRAM} exec aws:prod -- sh -c 'cat; echo ${{#ASTRO_API_TOKEN}} characters'"
    )
    environ = program.environment({"ASTRO_TOKEN_TIMEOUT": "4"})
    with Terminal(["sh", "-c", line], env=environ, cwd=program.work) as terminal:
        terminal.wait_for(ASKED)
        wait_until(lambda: not terminal.echoes())
        assert [] == aws.requests
        yield terminal
        assert terminal.echoes()


def test_a_person_is_prompted_and_the_deadline_waits(at: Terminal, aws: FaultServer, canary: str) -> None:
    time.sleep(5)
    at.type("314159\n")
    assert 0 == at.finish(), at.shown
    assert f"for the child\n{len(canary)} characters\n" in at.shown
    assert "314159" not in at.shown
    sent = parse_qs(aws.requests[0].body.decode())
    assert (["314159"], ["arn:aws:iam::123456789012:mfa/someone"]) == (
        sent["TokenCode"],
        sent["SerialNumber"],
    )
    assert 2 == len(aws.requests)


def test_one_prompt_serves_all_regions_and_services_and_no_progress_bar_hides_it(
    program: Program, aws: FaultServer, canary: str
) -> None:
    """Regions are read in threads of the backend, whose deadline must wait too."""
    parameter = Answer.json({"Parameter": {"Name": "/x", "Value": canary, "Version": 1, "Type": "String"}})
    aws.mode = lambda number: (
        ROLE if number == 1 else parameter if b"WithDecryption" in aws.requests[-1].body else holding(canary)
    )
    tokens = [
        f"{name}?region={region}" for name in ("aws:a", "aws-ssm:/x") for region in ("eu-west-1", "us-east-1")
    ]
    command = [str(PROGRAM), "check", *tokens]
    environ = program.environment({"ASTRO_TOKEN_TIMEOUT": "2"})
    with Terminal(command, env=environ, cwd=program.work) as at:
        at.wait_for(ASKED)
        assert ": " == at.read_for(3)
        at.type("314159\n")
        assert (0, 1, 5) == (at.finish(), at.shown.count(ASKED), len(aws.requests)), at.shown


@pytest.mark.parametrize("keys", ["\x04", "\n", "12345\n", "a token\n", "\x1c\n"])
def test_what_is_not_a_code_is_refused(at: Terminal, aws: FaultServer, keys: str) -> None:
    at.type(keys)
    assert 77 == at.finish()
    assert "what was typed is not an MFA code" in at.shown
    assert 1 == at.shown.count(ASKED)
    assert [] == aws.requests


def test_ctrl_c_at_the_prompt_restores_the_terminal(at: Terminal, aws: FaultServer) -> None:
    at.type("\x03")
    assert at.finish() in {130, -2}
    assert [] == aws.requests


def test_a_code_that_aws_refuses_is_not_prompted_for_again(program: Program, aws: FaultServer) -> None:
    aws.mode = Answer(
        status=403,
        body=b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>wrong</Message></Error></ErrorResponse>",
        headers={"Content-Type": "text/xml"},
    )
    command = [str(PROGRAM), "exec", "aws:prod", "--", "true"]
    with Terminal(command, env=program.environment(), cwd=program.work) as at:
        at.wait_for(ASKED)
        at.type("314159\n")
        assert (77, 1) == (at.finish(), at.shown.count(ASKED))


@pytest.mark.parametrize("name", ["CI", "PRE_COMMIT", "GIT_EXEC_PATH"])
def test_nobody_is_prompted_in_ci_and_in_hooks(program: Program, aws: FaultServer, name: str) -> None:
    command = [str(PROGRAM), "exec", "aws:prod", "--", "cat"]
    with Terminal(command, env=program.environment({name: "1"}), cwd=program.work) as terminal:
        assert 77 == terminal.finish()
        assert "no person can be prompted" in terminal.shown
        assert ASKED not in terminal.shown
    assert [] == aws.requests


def test_nobody_is_prompted_in_the_background(program: Program, aws: FaultServer) -> None:
    command = ["bash", "-mc", f"{PROGRAM} exec aws:prod -- cat & wait $!"]
    with Terminal(command, env=program.environment(), cwd=program.work) as terminal:
        assert 77 == terminal.finish()
        assert ASKED not in terminal.shown
    assert [] == aws.requests


def test_the_library_does_not_prompt(program: Program, aws: FaultServer) -> None:
    command = [
        str(PROGRAM.with_name("python")),
        "-c",
        "import astro_token; astro_token.read_token('aws:prod')",
    ]
    with Terminal(command, env=program.environment(), cwd=program.work) as terminal:
        assert 1 == terminal.finish()
        assert "no person can be prompted" in terminal.shown
        assert ASKED not in terminal.shown
    assert [] == aws.requests


@pytest.mark.parametrize("profile", ["process", "role"])
def test_a_credential_process_has_no_standard_input(
    program: Program, aws: FaultServer, profile: str, canary: str
) -> None:
    aws.mode = holding(canary)
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
