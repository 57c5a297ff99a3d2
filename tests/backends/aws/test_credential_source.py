"""What is told of the login before it is made, and that making it beforehand spares the read's."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from astro_token_backends.aws.kms import KMS
from astro_token_backends.aws.parameter_store import ParameterStore
from astro_token_backends.aws.secrets_manager import SecretsManager
from tests.backends.aws.service import SECONDS, allow, client, error_of, keys, new_session, ref, unique
from tests.backends.aws.test_login import (
    KEYS,
    READ,
    SUBJECT,
    anybody_with,
    in_an_hour,
    job,
    nobody,
    operations,
    put,
    role,
    wire,
    wire_server,
)
from tests.backends.clouds import logged, source_failure, told
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.ci_identity import CiIdentity
    from tests.servers.jwks import Issuer
    from tests.servers.ministack import MiniStack
    from tests.servers.wire import Wire

__all__ = ["job", "nobody", "role", "wire"]


@pytest.fixture
def backend() -> SecretsManager:
    return SecretsManager(session=new_session())


@pytest.fixture(scope="module")
def name(ministack: MiniStack) -> str:
    name = unique()
    client(ministack, "secretsmanager").create_secret(Name=name, SecretString="value")
    return f"aws:{name}"


class TestRequests:
    def test_a_job_logs_in_once_for_doctor_and_the_read(
        self, wire: Wire, name: str, job: CiIdentity, role: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        backends = {scheme: open_backend(scheme) for scheme in ("aws", "aws-ssm", "aws-kms")}
        caplog.set_level(logging.DEBUG)
        source = f"the identity of GitHub Actions, as the role {role} (AWS_ROLE_ARN)"
        assert backends["aws"].credential_source(ref(name), timeout=SECONDS) == source
        assert (operations(wire), len(job.requests)) == ([], 1)
        assert told(backends["aws"], name) == (wire.url, source)
        assert operations(wire) == ["AssumeRoleWithWebIdentity"]
        backends["aws"].read(ref(name), timeout=SECONDS)
        assert told(backends["aws-ssm"], "aws-ssm:/a")[1] == source
        assert told(backends["aws-kms"], "aws-kms:alias/a")[1] == source
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue"]
        assert len(job.requests) == 1
        lines = [line for line in logged(caplog).splitlines() if line.startswith("logging in to AWS")]
        assert len(lines) == 1
        assert source in lines[0]
        assert not any(appearances(token, logged(caplog)) for token in job.issued)

    def test_a_further_role_is_assumed_by_the_login_alone(
        self, wire: Wire, name: str, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire_server(wire)
        arn = server.role(anybody_with("team-7"), allow(READ))
        put(
            monkeypatch,
            **keys(server, allow("sts:AssumeRole")),
            ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=arn,
            ASTRO_TOKEN_AWS_EXTERNAL_ID="team-7",
        )
        source = f"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, then the role {arn}"
        assert backend.credential_source(ref(name), timeout=SECONDS) == source
        assert operations(wire) == []
        backend.log_in(ref(name), timeout=SECONDS)
        backend.read(ref(name), timeout=SECONDS)
        assert operations(wire) == ["AssumeRole", "GetSecretValue"]

    def test_a_role_that_is_refused_shows_in_the_login_and_not_in_the_source(
        self, wire: Wire, name: str, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire_server(wire)
        put(
            monkeypatch,
            **keys(server, allow("sts:AssumeRole")),
            ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=server.role(anybody_with("team-7"), allow(READ)),
        )
        assert "then the role" in backend.credential_source(ref(name), timeout=SECONDS)
        error = error_of(lambda: backend.log_in(ref(name), timeout=SECONDS))
        assert (error.exit_code, error.message) == (77, "AWS refuses the login")

    def test_a_client_that_is_given_brings_its_own(self, environment: MiniStack) -> None:
        given = SecretsManager(client(environment, "secretsmanager"))
        assert told(given, "aws:a") == (environment.endpoint, "the client that was given")


class TestSources:
    def test_keys_of_a_session(
        self, wire: Wire, backend: SecretsManager, canary: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY=canary, AWS_SESSION_TOKEN=canary[::-1])
        expected = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN"
        assert told(backend, "aws:a") == (wire.url, expected)
        assert operations(wire) == []

    @pytest.mark.parametrize("profile", ["default", "team a"])
    @pytest.mark.parametrize("where", ["credentials", "config"])
    def test_a_profile_is_named_with_its_file(
        self,
        wire: Wire,
        backend: SecretsManager,
        profile: str,
        where: str,
        canary: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        head = profile if where == "credentials" or profile == "default" else f'profile "{profile}"'
        (tmp_path / "credentials").touch()
        (tmp_path / "config").touch()
        file = tmp_path / where
        file.write_text(f"[{head}]\naws_access_key_id = AKIA0\naws_secret_access_key = {canary}\n")
        files(monkeypatch, tmp_path)
        monkeypatch.setenv("AWS_PROFILE", profile)
        source = backend.credential_source(ref("aws:a"), timeout=SECONDS)
        assert source == f"keys of the profile {profile} in {file}"

    def test_a_profile_with_a_role_and_one_with_a_program(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "config").write_text(
            "[profile deploy]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = A\naws_secret_access_key = B\n"
            "[profile program]\ncredential_process = printf "
            '\'{"Version":1,"AccessKeyId":"A","SecretAccessKey":"B"}\'\n'
        )
        files(monkeypatch, tmp_path)
        for profile, what in (("deploy", "the role"), ("program", "credential_process")):
            monkeypatch.setenv("AWS_PROFILE", profile)
            source = SecretsManager(session=new_session()).credential_source(ref("aws:a"), timeout=SECONDS)
            assert source == f"{what} of the profile {profile} in {tmp_path}/config"
        assert wire.count == 0

    def test_a_web_identitys_file(
        self, wire: Wire, backend: SecretsManager, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        source = backend.credential_source(ref("aws:a"), timeout=SECONDS)
        assert source == f"the web identity in {tmp_path}/token (AWS_WEB_IDENTITY_TOKEN_FILE)"
        assert wire.count == 0

    def test_a_file_that_is_not_there_is_a_mistake_of_the_settings(
        self, wire: Wire, backend: SecretsManager, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for place in ("missing", "x" * 300, ""):
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / place))
            error = error_of(lambda: backend.log_in(ref("aws:a"), timeout=SECONDS))
            assert (error.exit_code, "AWS_WEB_IDENTITY_TOKEN_FILE" in str(error.hint)) == (78, True)
        assert wire.count == 0

    def test_a_containers_role(
        self, wire: Wire, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = {"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "", "Expiration": in_an_hour()}
        with FaultServer(lambda _: Answer.json(given)) as container:
            put(monkeypatch, AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{container.url}/role")
            assert told(backend, "aws:a")[1] == "the container's role (AWS_CONTAINER_CREDENTIALS_FULL_URI)"
            assert container.count == 1

    def test_an_instances_role(
        self, wire: Wire, backend: SecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = {
            "Code": "Success",
            "AccessKeyId": "A",
            "SecretAccessKey": "B",
            "Token": "",
            "Expiration": in_an_hour(),
        }
        answers = [Answer(200, b"ticket"), Answer(200, b"deploy"), Answer.json(given)]
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer(lambda number: answers[number - 1]) as metadata:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
            assert told(backend, "aws:a")[1] == "the instance's role"
            assert metadata.count == 3

    def test_a_token_in_a_variable(
        self, wire: Wire, backend: SecretsManager, role: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = issuer.mint({"aud": "sts.amazonaws.com", "sub": SUBJECT})
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", token)
        source = backend.credential_source(ref("aws:a"), timeout=SECONDS)
        assert source.startswith("the identity token of ASTRO_TOKEN_ID_TOKEN, as the role ")
        assert appearances(token, source) == []

    @pytest.mark.parametrize("environ", [{}, {"AWS_PROFILE": "none-such"}, {"AWS_ACCESS_KEY_ID": "A"}])
    def test_without_a_credential_the_error_is_that_of_the_read(
        self, wire: Wire, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, **environ)
        error = source_failure(SecretsManager(session=new_session()), "aws:a")
        assert error.exit_code == (78 if "AWS_PROFILE" in environ else 77)
        assert wire.count == 0


class TestAddress:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, "https://secretsmanager.eu-west-1.amazonaws.com"),
            (
                {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_REGION": "us-east-1"},
                "https://secretsmanager-fips.us-east-1.amazonaws.com",
            ),
            (
                {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
                "https://secretsmanager.eu-west-1.api.aws",
            ),
            ({"AWS_ENDPOINT_URL": "https://aws.example:4566"}, "https://aws.example:4566"),
            (
                {
                    "AWS_ENDPOINT_URL": "https://aws.example",
                    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://own.example",
                },
                "https://own.example",
            ),
            (
                {"AWS_ENDPOINT_URL": "https://aws.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
                "https://secretsmanager.eu-west-1.amazonaws.com",
            ),
        ],
    )
    def test_it_is_the_one_that_the_client_would_use(
        self, nobody: MiniStack, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        put(monkeypatch, **environ)
        assert SecretsManager(session=new_session()).route(ref("aws:a")).address.origin == expected

    def test_the_reference_names_the_region(self, nobody: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        session = new_session()
        made: dict[str, Any] = {
            "aws:a?region=us-east-2": SecretsManager(session=session),
            "aws-ssm:arn:aws:ssm:ap-south-1:123456789012:parameter/a": ParameterStore(session=session),
            "aws-kms:alias/a?region=cn-north-1": KMS(session=session),
        }
        assert [backend.route(ref(text)).address.origin for text, backend in made.items()] == [
            "https://secretsmanager.us-east-2.amazonaws.com",
            "https://ssm.ap-south-1.amazonaws.com",
            "https://kms.cn-north-1.amazonaws.com.cn",
        ]

    @pytest.mark.parametrize(
        "environ", [{"AWS_REGION": ""}, {"AWS_ENDPOINT_URL": "http://aws.example"}], ids=["region", "http"]
    )
    def test_settings_that_are_refused(
        self, nobody: MiniStack, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, **environ)
        backend = SecretsManager(session=new_session())
        assert error_of(lambda: backend.route(ref("aws:a"))).exit_code == 78


def files(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    put(
        monkeypatch,
        AWS_CONFIG_FILE=str(folder / "config"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "credentials"),
    )


def test_no_key_of_the_environment_is_among_the_words(environment: MiniStack) -> None:
    backend = SecretsManager(session=new_session())
    text = "".join(told(backend, "aws:a"))
    assert [name for name in KEYS if os.environ[name] in text] == []
