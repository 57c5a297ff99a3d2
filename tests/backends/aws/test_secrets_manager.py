from __future__ import annotations

import json
import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from astro_token.log import silence_sdks
from astro_token.registry import open_backend
from astro_token.testing import BackendContract, Harness, appearances
from astro_token_backends.aws.secrets_manager import SecretsManager
from tests.backends.clouds import failure, logged, modules_after, quick_failure, read
from tests.servers.faults import ConnectProxy, FaultServer, refused_port
from tests.servers.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.ministack import MiniStack

MISSING = f"aws:astro/{uuid.uuid4().hex}"


def client(server: MiniStack, service: str) -> Any:
    """The account's root, who makes what the tests read."""
    return botocore.session.Session().create_client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


class Secrets:
    """Secrets Manager, from the side of those who store."""

    def __init__(self, server: MiniStack) -> None:
        self.client = client(server, "secretsmanager")
        silence_sdks()  # this client is the tests' own, and would log values

    def put(self, text: str | bytes, name: str | None = None) -> tuple[str, str]:
        """Adds a version; the name (a new one if none is given) and the version's id."""
        value = {"SecretString": text} if isinstance(text, str) else {"SecretBinary": text}
        if name is None:
            name = f"astro/{uuid.uuid4().hex}"
            return name, self.client.create_secret(Name=name, **value)["VersionId"]
        return name, self.client.put_secret_value(SecretId=name, **value)["VersionId"]


@pytest.fixture(scope="module")
def secrets(ministack: MiniStack) -> Secrets:
    return Secrets(ministack)


@pytest.fixture
def environment(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    for name, value in ministack.environment().items():
        monkeypatch.setenv(name, value)
    return ministack


@pytest.fixture
def backend(environment: MiniStack) -> SecretsManager:
    made = open_backend("aws")
    assert isinstance(made, SecretsManager)
    return made


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """The secret key of an environment that has all but an endpoint."""
    secret_key = uuid.uuid4().hex + uuid.uuid4().hex
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return secret_key


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: SecretsManager, secrets: Secrets) -> Harness:
        name, _ = secrets.put("first")

        def store(data: bytes) -> None:
            secrets.put(data.decode(), name)

        return Harness(backend, store, present=f"aws:{name}", missing=MISSING)


class TestReading:
    def test_it_takes_one_request(
        self,
        backend: SecretsManager,
        secrets: Secrets,
        environment: MiniStack,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name, version = secrets.put("value")
        with Wire(environment.endpoint) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
            value = read(backend, f"aws:{name}")
        assert (b"value", version) == (value.reveal(), value.version)
        assert wire.lines() == ["POST /"]

    def test_bytes_come_back_as_they_were(self, backend: SecretsManager, secrets: Secrets) -> None:
        data = bytes(range(256))
        assert data == read(backend, f"aws:{secrets.put(data)[0]}").reveal()

    def test_a_version_and_a_stage_can_be_named(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("first")
        secrets.put("second", name)
        assert read(backend, f"aws:{name}?version_id={first}").reveal() == b"first"
        assert read(backend, f"aws:{name}?stage=AWSPREVIOUS").reveal() == b"first"
        assert read(backend, f"aws:{name}").reveal() == b"second"

    def test_an_arn_brings_its_region(
        self, backend: SecretsManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, _ = secrets.put("value")
        arn = secrets.client.describe_secret(SecretId=name)["ARN"]
        monkeypatch.delenv("AWS_REGION")
        assert read(backend, f"aws:{arn}").reveal() == b"value"

    def test_the_region_is_looked_for_in_order(
        self, backend: SecretsManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        name, _ = secrets.put("value")
        profile = tmp_path / "config"
        profile.write_text("[default]\nregion = eu-west-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
        monkeypatch.delenv("AWS_REGION")
        assert read(backend, f"aws:{name}").reveal() == b"value"
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert failure(backend, f"aws:{name}").exit_code == 66
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert read(backend, f"aws:{name}").reveal() == b"value"
        assert failure(backend, f"aws:{name}?region=us-east-1").exit_code == 66

    def test_a_profile_cannot_lead_elsewhere(
        self, elsewhere: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with FaultServer(500) as trap, ConnectProxy() as proxy:
            profile = tmp_path / "config"
            profile.write_text(f"[default]\nendpoint_url = {trap.url}\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert failure(open_backend("aws"), "aws:a").exit_code == 75
        assert trap.connections == 0
        assert proxy.targets == ["secretsmanager.eu-west-1.amazonaws.com:443"]

    def test_what_is_in_clear_goes_through_no_proxy(
        self, backend: SecretsManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, _ = secrets.put("value")
        with ConnectProxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("http_proxy", proxy.url)
            assert read(backend, f"aws:{name}").reveal() == b"value"
        assert proxy.requests == []

    def test_an_authority_of_ones_own_is_trusted_beside_the_known_ones(
        self,
        elsewhere: str,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        body = json.dumps({"SecretString": "value", "VersionId": str(uuid.uuid4())}).encode()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with FaultServer(200, body, tls=certificates.server.context()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert failure(SecretsManager(), "aws:a").exit_code == 76
            monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
            backend = SecretsManager()
            assert read(backend, "aws:a").reveal() == b"value"
        bundle = next(tmp_path.glob("astro-token-authorities-*"))
        assert bundle.read_text().count("BEGIN CERTIFICATE") > 50
        assert bundle.stat().st_mode & 0o777 == 0o600
        backend.close()
        backend.close()
        assert list(tmp_path.glob("astro-token-authorities-*")) == []


class TestRefusals:
    def test_a_version_that_is_not_there(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        name, _ = secrets.put(canary)
        for option in (f"version_id={uuid.uuid4()}", "stage=NOTHING"):
            assert failure(backend, f"aws:{name}?{option}", canaries=[canary]).exit_code == 66

    def test_a_secret_marked_for_deletion(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        name, _ = secrets.put(canary)
        secrets.client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
        assert failure(backend, f"aws:{name}", canaries=[canary]).exit_code == 66

    def test_a_denied_permission_is_named(
        self, environment: MiniStack, secrets: Secrets, canary: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, _ = secrets.put(canary)
        iam, user = client(environment, "iam"), f"user-{uuid.uuid4().hex}"
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        error = failure(open_backend("aws"), f"aws:{name}", canaries=[canary])
        assert error.exit_code == 77
        assert "secretsmanager:GetSecretValue" in str(error.hint)

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    def test_a_wrong_key(self, backend: SecretsManager, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "AKIA0000000000000000")
        error = failure(backend, MISSING)
        assert error.exit_code == 77
        assert "clock" in str(error.hint)

    def test_no_region(self, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_REGION")
        error = failure(backend, MISSING)
        assert error.exit_code == 78
        assert "AWS_REGION" in str(error.hint)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("AWS_REGION", "eu-west-1.evil.example/?"),
            ("AWS_PROFILE", "nobody"),
            ("AWS_ENDPOINT_URL", "nonsense"),
        ],
    )
    def test_a_setting_that_cannot_be(
        self, backend: SecretsManager, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)
        error = failure(backend, MISSING)
        assert error.exit_code == 78
        assert variable in error.message + str(error.hint)
        assert value not in error.message + str(error.hint)

    @pytest.mark.parametrize(
        "variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS"]
    )
    @pytest.mark.parametrize("host", ["localhost.evil.example", "user@127.0.0.1", "127.0.0.1.example"])
    def test_plain_http_to_another_machine_is_not_even_tried(
        self, elsewhere: str, variable: str, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(500) as trap:
            monkeypatch.setenv(variable, f"http://{host}:{trap.port}")
            error = failure(SecretsManager(), MISSING)
            assert trap.connections == 0
        assert error.exit_code == 78
        assert variable in error.message

    def test_no_credential_at_all_is_said_quickly(
        self, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        error = quick_failure(backend, MISSING)
        assert error.exit_code == 77
        assert "AWS_WEB_IDENTITY_TOKEN_FILE" in str(error.hint)

    def test_nor_does_a_silent_metadata_service_take_longer(
        self, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name)
        with FaultServer("hang") as silent:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{silent.url}/")
            error = quick_failure(open_backend("aws"), MISSING)
            assert silent.count > 0
        assert error.exit_code == 77

    def test_a_profiles_address_gets_no_web_identity(
        self, environment: MiniStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
    ) -> None:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        with FaultServer(500) as trap:
            (tmp_path / "config").write_text(f"[default]\nendpoint_url = {trap.url}\nregion = eu-west-1\n")
            (tmp_path / "identity").write_text(canary)
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
            monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
            # A proxy that is a trap of its own, for no test may reach the real service.
            with FaultServer(500) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                failure(SecretsManager(), MISSING, canaries=[canary])
                assert not proxy.saw(canary)
            assert trap.connections == 0

    def test_the_metadata_of_an_instance_is_asked_through_no_proxy(
        self, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name)
        with FaultServer(500) as metadata, FaultServer(500) as proxy:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
            for name in ("http_proxy", "HTTP_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            failure(SecretsManager(), MISSING)
            assert metadata.count > 0
            assert proxy.count == 0


class TestFaults:
    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("cut-json", 76),
            ("empty", 76),
            ("html", 76),
            ("json-array", 76),
            ("json-null", 76),
            ("json-int", 76),
            ("wrong-charset", 76),
            ("reset", 75),
            ("reset-body", 75),
            ("close", 75),
            (301, 76),
            (307, 76),
            (403, 77),
            (401, 77),
            (429, 75),
            (500, 75),
            (503, 75),
            (418, 70),
        ],
    )
    def test_a_damaged_or_failing_answer(
        self, elsewhere: str, canary: str, mode: str | int, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = json.dumps({"SecretString": canary, "VersionId": str(uuid.uuid4())}).encode()
        with FaultServer(mode, body, redirect="/elsewhere") as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            error = failure(open_backend("aws"), "aws:a", canaries=[canary])
            assert server.count == 1
        assert code == error.exit_code

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"SecretString": None}, 76),
            ({"SecretString": 1}, 76),
            ({"SecretBinary": 1}, 76),
            ({"SecretString": "value"}, 76),
            ({"SecretString": "value", "VersionId": "two\nlines"}, 76),
        ],
    )
    def test_an_answer_without_what_it_must_have(
        self, elsewhere: str, fields: dict[str, Any], code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200, json.dumps({"Name": "a", **fields}).encode()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert code == failure(open_backend("aws"), "aws:a").exit_code

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("ThrottlingException", 75),
            ("InternalServiceError", 75),
            ("ExpiredTokenException", 77),
            ("DecryptionFailure", 65),
            ("InvalidParameterException", 64),
            ("SomethingNew", 70),
        ],
    )
    def test_an_error_by_its_name(
        self, elsewhere: str, canary: str, name: str, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(400, json.dumps({"__type": name, "message": canary}).encode()) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            error = failure(open_backend("aws"), "aws:a", canaries=[canary])
            assert server.count == 1
        assert code == error.exit_code

    def test_no_redirect_is_followed(self, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with FaultServer(200) as other, FaultServer(307, redirect=other.url) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            assert failure(open_backend("aws"), "aws:a").exit_code == 76
            assert server.count == 1
            assert other.connections == 0

    def test_a_refused_connection(self, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{refused_port()}")
        assert quick_failure(open_backend("aws"), "aws:a").exit_code == 75

    def test_an_unknown_host(self, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://aws.invalid")
        assert failure(open_backend("aws"), "aws:a").exit_code == 69

    def test_a_silent_service_costs_no_more_than_the_timeout(
        self, elsewhere: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer("hang") as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            backend = open_backend("aws")
            start = time.monotonic()
            assert failure(backend, "aws:a", timeout=1).exit_code == 75
            assert time.monotonic() - start < 2
            assert server.count == 1


def test_debug_logging_shows_neither_value_nor_key(
    backend: SecretsManager,
    environment: MiniStack,
    secrets: Secrets,
    canary: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name, _ = secrets.put(canary)
    caplog.set_level(logging.DEBUG)
    read(backend, f"aws:{name}")
    failure(backend, MISSING)
    assert [appearances(secret, logged(caplog)) for secret in (canary, environment.secret_key)] == [[], []]


def test_importing_the_module_loads_no_sdk() -> None:
    assert {"boto3", "botocore"} & modules_after("import astro_token_backends.aws.secrets_manager") == set()
