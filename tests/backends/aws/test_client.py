"""Requests and their surroundings: addresses, proxies, CA bundles, files, logs."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import AstroTokenError
from astro_token_backends.aws.kms import KMS
from astro_token_backends.aws.parameter_store import ParameterStore
from astro_token_backends.aws.secrets_manager import SecretsManager
from tests.backends.aws.service import SECONDS, client, error_of, new_session, ref, secret, unique
from tests.backends.clouds import modules_after
from tests.servers.faults import ConnectProxy, FaultServer
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.secret import SecretValue
    from astro_token_backends.aws.client import Session
    from tests.servers.certificates import Certificates
    from tests.servers.ministack import MiniStack

VALUE = {"SecretString": "value", "VersionId": str(uuid.uuid4())}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that has all but an endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", uuid.uuid4().hex)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def read(text: str = "aws:a", session: Session | None = None) -> SecretValue:
    return SecretsManager(session=session or new_session()).read(ref(text), timeout=SECONDS)


@pytest.mark.parametrize("scheme", ["aws", "aws-ssm", "aws-kms"])
def test_each_service_has_an_endpoint_variable_of_its_own(
    elsewhere: None, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = {"aws": "SECRETS_MANAGER", "aws-ssm": "SSM", "aws-kms": "KMS"}[scheme]
    answers = {
        "aws": VALUE,
        "aws-ssm": {"Parameter": {"Name": "a", "Type": "String", "Value": "value", "Version": 1}},
        "aws-kms": {"Plaintext": "dmFsdWU="},
    }
    with FaultServer(500) as other, FaultServer(lambda _: Answer.json(answers[scheme])) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", other.url)
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{variable}", server.url)
        session = new_session()
        if scheme == "aws-kms":
            value = KMS(session=session).decrypt(ref("aws-kms:alias/a"), b"x", timeout=SECONDS)
        elif scheme == "aws-ssm":
            value = ParameterStore(session=session).read(ref("aws-ssm:a"), timeout=SECONDS)
        else:
            value = read(session=session)
        assert (server.count, other.count) == (1, 0)
    assert value == secret("value")


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({}, "kms.us-east-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "kms-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "kms.us-east-1.api.aws"),
        (
            {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "https://other.invalid"},
            "kms.us-east-1.amazonaws.com",
        ),
    ],
)
def test_the_sdks_own_variables_choose_the_endpoint(
    elsewhere: None, variables: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        kms, key = KMS(session=new_session()), ref("aws-kms:alias/a?region=us-east-1")
        assert error_of(lambda: kms.decrypt(key, b"x", timeout=SECONDS)).exit_code == 75
    assert proxy.targets == [f"{host}:443"]


@pytest.mark.parametrize("variable", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_an_endpoint_of_ones_own_contradicts_a_kind_of_endpoint(
    elsewhere: None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(500) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv(variable, "true")
        error = error_of(read)
        assert server.connections == 0
    assert error.exit_code == 78
    assert variable in error.message


def test_a_profile_cannot_lead_elsewhere(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FaultServer(500) as trap, ConnectProxy() as proxy:
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {trap.url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert error_of(read).exit_code == 75
    assert trap.connections == 0
    assert proxy.targets == ["secretsmanager.eu-west-1.amazonaws.com:443"]


@pytest.mark.parametrize(
    "variable",
    ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO"],
)
@pytest.mark.parametrize("host", ["localhost.evil.example", "user@127.0.0.1", "127.0.0.1.example"])
def test_plain_http_to_another_machine_is_not_even_tried(
    elsewhere: None, variable: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(500) as trap:
        monkeypatch.setenv(variable, f"http://{host}:{trap.port}")
        error = error_of(read)
        assert trap.connections == 0
    assert error.exit_code == 78
    assert variable in error.message


def test_what_is_in_clear_goes_through_no_proxy(
    environment: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique()
    client(environment, "secretsmanager").create_secret(Name=name, SecretString="value")
    with ConnectProxy() as proxy:
        for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        assert read(f"aws:{name}") == secret("value")
    assert proxy.requests == []


def test_a_proxy_gets_its_own_credential_and_says_when_it_wants_one(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy(status=407) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//us%20er:p%40ss%3Aw@"))
        error = error_of(read)
        assert [request.headers.get("proxy-authorization") for request in proxy.requests] == [
            "Basic dXMgZXI6cEBzczp3"  # us er:p@ss:w
        ]
    assert (error.exit_code, error.message) == (78, "the proxy requires a user and a password")


class TestAuthorities:
    def test_one_of_ones_own_is_trusted_beside_the_known_ones(
        self, elsewhere: None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200, json.dumps(VALUE).encode(), tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert error_of(read).exit_code == 76
            monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
            assert read() == secret("value")

    def test_that_of_the_sdk_is_taken_too(
        self, elsewhere: None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200, json.dumps(VALUE).encode(), tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
            assert read() == secret("value")

    def test_that_of_the_profile_is_used_and_named_if_it_is_unusable(
        self,
        elsewhere: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {certificates.ca_file}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with FaultServer(200, json.dumps(VALUE).encode(), tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert read() == secret("value")
            route = SecretsManager(session=new_session()).route(ref("aws:a"))
            assert route.trust is not None
            assert route.trust.variables == ("the profile's ca_bundle",)
            (tmp_path / "config").write_text(f"[default]\nca_bundle = {tmp_path}/none\n")
            error = error_of(read)
        assert error.exit_code == 78
        assert error.message.startswith("the file that the profile's ca_bundle names cannot be read")

    def test_the_variable_wins_over_the_profile_and_over_that_of_every_service(
        self,
        elsewhere: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {tmp_path}/none\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
        with FaultServer(200, json.dumps(VALUE).encode(), tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
            assert read() == secret("value")

    def test_the_login_service_is_checked_by_the_same(
        self,
        elsewhere: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(500, tls=certificates.server.context()) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            monkeypatch.setenv("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN", "arn:aws:iam::000000000000:role/r")
            assert error_of(read).exit_code == 76
            assert sts.count == 0
            monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
            assert error_of(read).exit_code == 75
            assert sts.count == 1

    def test_keys_of_sessions_are_written_to_no_file(
        self, elsewhere: None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
        monkeypatch.setenv("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN", "arn:aws:iam::000000000000:role/r")
        with FaultServer(500, tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert error_of(read).exit_code == 75
            monkeypatch.delenv("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN")
            assert error_of(read).exit_code == 75
            assert server.count == 2
        assert not (tmp_path / "keys").exists()
        assert os.environ["SSLKEYLOGFILE"] == str(tmp_path / "keys")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value", ["https://proxy.example", "socks5://proxy.example", "http://user:p#w@proxy"]
)
def test_a_proxy_of_another_kind_is_refused(
    elsewhere: None, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    error = error_of(read)
    assert (error.exit_code, error.message) == (78, f"{variable} is not the address of an HTTP proxy")


def test_reads_share_a_connection_and_a_write_opens_its_own(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(lambda _: Answer.json(VALUE)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        backend = SecretsManager(session=new_session())
        for _ in range(3):
            assert backend.read(ref("aws:a"), timeout=SECONDS) == secret("value")
        assert (server.count, server.connections) == (3, 1)
        with pytest.raises(AstroTokenError):
            backend.write(ref("aws:a"), secret("new"), expected_version=None, timeout=SECONDS)
        assert (server.count, server.connections) == (4, 2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_REGION", "eu-west-1.evil.example/?"),
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL", "nonsense"),
    ],
)
def test_a_setting_that_cannot_be(
    environment: MiniStack, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    error = error_of(read)
    assert error.exit_code == 78
    assert variable in error.message + str(error.hint)
    assert value not in error.message + str(error.hint)


def test_no_region(environment: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    error = error_of(read)
    assert error.exit_code == 78
    assert "AWS_REGION" in str(error.hint)


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_wrong_key(environment: MiniStack, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "AKIA0000000000000000")
    error = error_of(read)
    assert error.exit_code == 77
    assert "clock" in str(error.hint)


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "ThrottlingException", 75),
        (400, "InternalServiceError", 75),
        (400, "ExpiredTokenException", 77),
        (400, "DecryptionFailure", 65),
        (400, "InvalidParameterException", 64),
        (400, "SomethingNew", 70),
        (500, "SomethingNew", 75),
        (501, "SomethingNew", 69),
    ],
)
def test_an_error_by_its_name(
    elsewhere: None, canary: str, status: int, name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(status, json.dumps({"__type": name, "message": canary}).encode()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        error = error_of(read, canary)
        assert server.count == 1
    assert code == error.exit_code


@pytest.mark.parametrize(
    "fields",
    [
        {"SecretString": None},
        {"SecretString": 1},
        {"SecretBinary": 1},
        {"SecretString": "value"},
        {"SecretString": "value", "VersionId": "two\nlines"},
    ],
)
def test_an_answer_without_what_it_must_have(
    elsewhere: None, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(lambda _: Answer.json({"Name": "a", **fields})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert error_of(read).exit_code == 76


def test_a_service_that_asks_us_to_wait_is_heard(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = (b"{}", json.dumps({"__type": "ThrottlingException"}).encode())
    for body in bodies:
        with FaultServer(429, body, headers={"Retry-After": "7"}) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert getattr(error_of(read), "retry_after", None) == 7.0


@pytest.mark.parametrize("module", ["secrets_manager", "parameter_store", "kms"])
def test_importing_a_backend_loads_no_sdk(module: str) -> None:
    loaded = modules_after(f"import astro_token_backends.aws.{module}")
    assert {"boto3", "botocore", "urllib3"} & loaded == set()
