"""A login that fails on this machine names the file, the program or the variable that is the cause."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError
from astro_token_backends.aws.secrets_manager import SecretsManager
from tests.backends.aws.service import error_of, new_session, ref
from tests.installed import extra_hint
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MALFORMED = "a setting, a file or an output is missing or malformed"
PAST = "2020-01-01T00:00:00Z"
KEYS = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "B"}


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Write the settings of the profile `team`; no server can be reached."""
    for name, value in {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_PROFILE": "team",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)

    def write(settings: str) -> Path:
        (tmp_path / "config").write_text(f"[profile team]\n{settings}\n")
        return tmp_path / "config"

    return write


def failure(*canaries: str, timeout: float = 10.0) -> AstroTokenError:
    backend = SecretsManager(session=new_session())
    return error_of(lambda: backend.read(ref("aws:a"), timeout=timeout), *canaries)


@pytest.mark.parametrize(
    ("output", "kind", "defect"),
    [
        ("no JSON CANARY", ConfigError, MALFORMED),
        ("[]", ConfigError, MALFORMED),
        ('{"Version": 1}', AccessDeniedError, "it provides no credential"),
        ('{"Version": 2, "x": "CANARY"}', AccessDeniedError, "it provides no credential"),
        (json.dumps({**KEYS, "Expiration": PAST}), AccessDeniedError, "the credential has expired"),
        (json.dumps({**KEYS, "Expiration": "soon"}), ConfigError, MALFORMED),
    ],
)
def test_the_output_of_credential_process(
    profile: Callable[[str], Path],
    output: str,
    kind: type[AstroTokenError],
    defect: str,
    tmp_path: Path,
    canary: str,
) -> None:
    (tmp_path / "output").write_text(output.replace("CANARY", canary))
    config = profile(f"credential_process = cat {tmp_path}/output")
    error = failure(canary)
    assert type(error) is kind
    assert error.message == (
        f"cannot log in to AWS with credential_process of the profile team in {config}: {defect}"
    )


@pytest.mark.parametrize(
    ("command", "kind"),
    [("false", AccessDeniedError), ("/none/such", ConfigError), ("no-such-program", ConfigError)],
)
def test_a_credential_process_that_fails_or_does_not_exist(
    profile: Callable[[str], Path], command: str, kind: type[AstroTokenError]
) -> None:
    profile(f"credential_process = {command}")
    error = failure()
    assert type(error) is kind
    assert "credential_process" in error.message


def test_a_credential_process_that_hangs_is_ended_with_its_children(
    profile: Callable[[str], Path], tmp_path: Path
) -> None:
    config = profile(f"credential_process = sh -c 'sleep 300 & echo $! > {tmp_path}/pid; wait'")
    with within(1):
        error = failure(timeout=1)
    assert type(error) is AccessDeniedError
    source = f"credential_process of the profile team in {config}"
    assert error.message == f"cannot log in to AWS with {source}: it did not end in time"
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 5
    while is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("session", [False, True], ids=["start URL", "session"])
@pytest.mark.parametrize("content", [None, "", '{"accessToken": "CANARY', '{"accessToken": "CANARY"}', "[]"])
def test_the_cache_of_single_sign_on(
    profile: Callable[[str], Path],
    content: str | None,
    session: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    canary: str,
) -> None:
    import hashlib

    from botocore.credentials import SSOProvider
    from botocore.tokens import SSOTokenProvider

    start = "sso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n"
    role = "sso_account_id = 123456789012\nsso_role_name = deploy\n"
    config = profile(f"sso_session = acme\n{role}[sso-session acme]\n{start}" if session else start + role)
    for provider in (SSOProvider, SSOTokenProvider):  # they look for the home when they are imported
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    key = "acme" if session else "https://acme.awsapps.com/start"
    if content is not None:
        file = tmp_path / f"{hashlib.sha1(key.encode()).hexdigest()}.json"  # noqa: S324 (the SDK's name)
        file.write_text(content.replace("CANARY", canary))
    error = failure(canary)
    assert error.exit_code in {77, 78}
    assert error.message.startswith(f"cannot log in to AWS with SSO of the profile team in {config}: ")
    assert "aws sso login" in str(error.hint)


def expired_session(monkeypatch: pytest.MonkeyPatch, folder: Path, canary: str) -> str:
    """A session of single sign-on that ended yesterday. Return the settings that use it."""
    import hashlib

    from botocore.credentials import SSOProvider
    from botocore.tokens import SSOTokenProvider

    for provider in (SSOProvider, SSOTokenProvider):  # they look for the home when they are imported
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(folder))
    start = "https://acme.awsapps.com/start"
    left = {"startUrl": start, "region": "eu-west-1", "accessToken": canary, "expiresAt": PAST}
    for key in ("acme", start):
        (folder / f"{hashlib.sha1(key.encode()).hexdigest()}.json").write_text(json.dumps(left))  # noqa: S324
    return f"sso_start_url = {start}\nsso_region = eu-west-1\n"


ROLE = "sso_account_id = 123456789012\nsso_role_name = deploy\n"


@pytest.mark.parametrize("session", [False, True], ids=["start URL", "session"])
def test_an_expired_session_names_the_one_command_that_renews_it(
    profile: Callable[[str], Path],
    session: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    canary: str,
) -> None:
    start = expired_session(monkeypatch, tmp_path, canary)
    config = profile(f"sso_session = acme\n{ROLE}[sso-session acme]\n{start}" if session else start + ROLE)
    error = failure(canary)
    assert (AccessDeniedError, 77) == (type(error), error.exit_code)
    assert error.message.startswith(f"cannot log in to AWS with SSO of the profile team in {config}: ")
    assert str(error.hint).startswith("log in again: aws sso login --profile team; check AWS_PROFILE")
    monkeypatch.setenv("CI", "true")
    hint = str(failure(canary).hint)
    assert "aws sso login" not in hint
    assert "set AWS_ROLE_ARN to a role for the identity of the job" in hint


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("default", "aws sso login;"),
        ("my team", "aws sso login --profile 'my team';"),
        ("x" * 65, "aws sso login;"),
        ("\x1b[31mred", "aws sso login;"),
        ("AGE-SECRET-KEY-1", "aws sso login;"),
    ],
)
def test_a_profiles_name_is_shown_if_it_is_short_and_printable(
    profile: Callable[[str], Path],
    name: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    canary: str,
) -> None:
    config = profile("")
    start = expired_session(monkeypatch, tmp_path, canary)
    head = "default" if name == "default" else f'profile "{name}"'
    config.write_text(f"[{head}]\n{start}{ROLE}")
    monkeypatch.setenv("AWS_PROFILE", name)
    error = failure(canary)
    assert 77 == error.exit_code
    assert str(error.hint).startswith(f"log in again: {command}")


def test_the_expired_session_of_a_source_profile(
    profile: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    start = expired_session(monkeypatch, tmp_path, canary)
    profile(
        f"role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n[profile base]\n{start}{ROLE}"
    )
    error = failure(canary)
    assert 77 == error.exit_code
    assert str(error.hint).startswith("log in again: aws sso login --profile base; ")


@pytest.mark.parametrize("url", ["http://role.example/role", "ftp://127.0.0.1/role", "127.0.0.1"])
def test_a_containers_address_that_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    error = failure()
    assert type(error) is ConfigError
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in error.message


def test_a_role_of_a_source_profile_with_half_a_key(profile: Callable[[str], Path]) -> None:
    config = profile(
        "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = A"
    )
    error = failure()
    assert (type(error), error.message) == (
        AccessDeniedError,
        f"cannot log in to AWS with the role of the profile team in {config}: a part of the keys is missing",
    )


def test_the_login_of_the_aws_cli_needs_an_extra(profile: Callable[[str], Path]) -> None:
    profile("login_session = arn:aws:iam::123456789012:user/me")
    error = failure()
    assert (type(error), error.hint) == (ConfigError, extra_hint("aws-login"))
    assert "with `aws login` of the profile team" in error.message


@pytest.mark.parametrize("variable", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
@pytest.mark.parametrize("defect", ["is a folder", "does not exist"])
def test_a_file_without_a_profile_is_named(
    variable: str, defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(variable, str(tmp_path if defect == "is a folder" else tmp_path / "none"))
    for name in ("", "team"):
        monkeypatch.setenv("AWS_PROFILE", name)
        error = failure()
        assert type(error) is ConfigError
        assert f"the file that {variable} names {defect}" in error.message


@pytest.mark.parametrize("content", [b"no section CANARY", b"[a]\nb = 1\n[a]\nCANARY = 2", b"[a]\nb = \xff"])
def test_a_file_that_is_not_a_configuration_is_named(
    profile: Callable[[str], Path], content: bytes, canary: str
) -> None:
    config = profile("")
    config.write_bytes(content.replace(b"CANARY", canary.encode()))
    error = failure(canary)
    assert (type(error), error.message) == (
        ConfigError,
        f"the AWS configuration file {config} is malformed",
    )


def test_a_line_end_of_a_key_and_of_a_region_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.servers.http1 import Answer, HttpServer

    value = {"SecretString": "value", "VersionId": "v" * 32}

    def signature(end: str) -> str:
        for name, text in {
            "AWS_ACCESS_KEY_ID": "AKIA0000000000000000",
            "AWS_SECRET_ACCESS_KEY": "x" * 40,
            "AWS_SESSION_TOKEN": "t" * 40,
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, text + end)
        SecretsManager(session=new_session()).read(ref("aws:a"), timeout=10)
        headers: dict[str, Any] = dict(server.requests[-1].headers)
        assert headers["x-amz-security-token"] == "t" * 40
        return str(headers["authorization"]).partition("Signature")[0]

    with HttpServer(lambda _: Answer.json(value)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert signature("") == signature("\n") == signature("\r\n")
    assert os.environ["AWS_REGION"] == "eu-west-1\r\n"
