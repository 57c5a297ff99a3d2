"""Where credentials come from, which wins, and how many requests a login takes."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError, BackendUnavailableError, NoCredentialError
from astro_token.secrets.registry import open_backend
from astro_token.secrets.schemes import BUILTIN
from astro_token.testing import appearances, reachable_text
from astro_token_backends.aws.secrets_manager import SecretsManager
from tests.backends.aws.service import (
    ACCOUNT,
    SECONDS,
    allow,
    client,
    error_of,
    keys,
    new_session,
    ref,
    secret,
    trust_of,
    unique,
)
from tests.backends.clouds import in_a_process
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import ConnectProxy, FaultServer, refused_port
from tests.servers.http1 import Answer, HttpServer, Request
from tests.servers.wire import Wire
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from astro_token.secret import SecretValue
    from astro_token_backends.aws.client import Session
    from tests.servers.jwks import Issuer
    from tests.servers.ministack import MiniStack

READ = "secretsmanager:GetSecretValue"
SUBJECT = "repo:acme/dags:ref:refs/heads/main"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def name(ministack: MiniStack) -> str:
    name = unique()
    client(ministack, "secretsmanager").create_secret(Name=name, SecretString="value")
    return name


@pytest.fixture
def nobody(environment: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    """All of the environment but a credential."""
    for variable in KEYS:
        monkeypatch.delenv(variable)
    return environment


@pytest.fixture
def wire(nobody: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with Wire(nobody.endpoint) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
        yield wire


@pytest.fixture
def job(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CiIdentity]:
    """A job of GitHub Actions."""
    with CiIdentity(issuer) as server:
        for variable, value in server.environment("github").items():
            monkeypatch.setenv(variable, value)
        yield server


@pytest.fixture
def role(ministack: MiniStack, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that the job may assume."""
    arn = ministack.role(trust_of(issuer, "sts.amazonaws.com", SUBJECT), allow(READ))
    monkeypatch.setenv("AWS_ROLE_ARN", arn)
    return arn


def put(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


def read(name: str, session: Session | None = None) -> SecretValue:
    return SecretsManager(session=session or new_session()).read(ref(f"aws:{name}"), timeout=SECONDS)


def operations(wire: Wire) -> list[str]:
    """The operation of each request, as either protocol names it."""
    return [
        request.headers.get("x-amz-target", "").rpartition(".")[2]
        or request.body.decode().partition("Action=")[2].partition("&")[0]
        for request in wire.requests
    ]


def session_of(wire: Wire) -> str:
    """Who signed the last request."""
    return wire.requests[-1].headers["authorization"].partition("Credential=")[2].partition("/")[0]


class TestChain:
    def test_keys_of_the_environment_take_one_request(
        self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, **keys(wire_server(wire), allow(READ)))
        assert read(name) == secret("value")
        assert operations(wire) == ["GetSecretValue"]

    def test_all_three_services_share_one_login_and_close_twice(
        self, wire: Wire, name: str, job: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arn = wire_server(wire).role(
            trust_of(issuer, "sts.amazonaws.com", SUBJECT), allow(READ, "ssm:GetParameter", "kms:Encrypt")
        )
        monkeypatch.setenv("AWS_ROLE_ARN", arn)
        backends = [open_backend(scheme) for scheme in ("aws", "aws-ssm", "aws-kms")]
        assert backends[0].read(ref(f"aws:{name}"), timeout=SECONDS) == secret("value")
        error_of(lambda: backends[1].read(ref("aws-ssm:/none"), timeout=SECONDS))
        error_of(lambda: backends[2].encrypt(ref("aws-kms:alias/none"), secret("x"), timeout=SECONDS))
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue", "GetParameter", "Encrypt"]
        for backend in (*backends, *backends):
            backend.close()

    def test_threads_log_in_once(self, wire: Wire, name: str, job: CiIdentity, role: str) -> None:
        backend, values = SecretsManager(session=new_session()), []

        def one() -> None:
            values.append(backend.read(ref(f"aws:{name}"), timeout=SECONDS))

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert values == [secret("value")] * 8
        assert operations(wire).count("AssumeRoleWithWebIdentity") == 1

    def test_a_login_is_kept_for_the_next_attempt(
        self, wire: Wire, name: str, job: CiIdentity, role: str
    ) -> None:
        backend = SecretsManager(session=new_session())
        wire.faults = [None, Answer(503)]
        assert error_of(lambda: backend.read(ref(f"aws:{name}"), timeout=SECONDS)).exit_code == 75
        assert backend.read(ref(f"aws:{name}"), timeout=SECONDS) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue", "GetSecretValue"]

    def test_a_profile_with_a_role_and_an_external_id(
        self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        server = wire_server(wire)
        user = keys(server, allow("sts:AssumeRole"))
        arn = server.role(anybody_with("team-7"), allow(READ))
        (tmp_path / "credentials").write_text(
            f"[base]\naws_access_key_id = {user[KEYS[0]]}\naws_secret_access_key = {user[KEYS[1]]}\n"
        )
        (tmp_path / "config").write_text(
            f"[profile deploy]\nrole_arn = {arn}\nsource_profile = base\nexternal_id = team-7\n"
        )
        put(
            monkeypatch,
            AWS_CONFIG_FILE=str(tmp_path / "config"),
            AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
            AWS_PROFILE="deploy",
        )
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRole", "GetSecretValue"]

    def test_a_web_identitys_file(
        self,
        wire: Wire,
        name: str,
        role: str,
        issuer: Issuer,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "token").write_text(issuer.mint({"aud": "sts.amazonaws.com", "sub": SUBJECT}))
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue"]

    def test_single_sign_on(
        self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """What `aws sso login` leaves is used; the portal that gives the role's keys is a server of ours."""
        import hashlib

        start, user = "https://acme.awsapps.com/start", keys(wire_server(wire), allow(READ))
        (tmp_path / "config").write_text(
            f"[default]\nsso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = 123456789012\n"
            "sso_role_name = deploy\n"
        )
        cache = tmp_path / "home" / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True)
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        left = {"startUrl": start, "region": "eu-west-1", "accessToken": "portal", "expiresAt": later}
        (cache / f"{hashlib.sha1(start.encode()).hexdigest()}.json").write_text(json.dumps(left))  # noqa: S324
        given = {
            "accessKeyId": user[KEYS[0]],
            "secretAccessKey": user[KEYS[1]],
            "sessionToken": "",
            "expiration": int(time.time() + 3600) * 1000,
        }
        with FaultServer(lambda _: Answer.json({"roleCredentials": given})) as portal:
            put(monkeypatch, AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_ENDPOINT_URL_SSO=portal.url)
            # In a process of its own: the SDK looks for the home once.
            done = in_a_process(
                "from astro_token.secrets.ref import SecretRef; "
                "from astro_token.secrets.registry import open_backend; "
                f"value = open_backend('aws').read(SecretRef.parse('aws:{name}'), timeout=10); "
                "print(value.reveal())"
            )
            assert (done.stdout, done.stderr) == ("b'value'\n", "")
            assert [request.headers["x-amz-sso_bearer_token"] for request in portal.requests] == ["portal"]

    @pytest.mark.parametrize("further", [{}, {"AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:1"}])
    def test_no_login_goes_to_a_profiles_address(
        self, wire: Wire, name: str, further: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        server = wire_server(wire)
        role, user = server.role(anybody_with("team-7"), allow(READ)), keys(server, allow("sts:AssumeRole"))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        with FaultServer(200) as trap:
            (tmp_path / "config").write_text(
                f"[profile deploy]\nendpoint_url = {trap.url}\nservices = all\nrole_arn = {role}\n"
                "external_id = team-7\nsource_profile = base\n"
                f"[profile base]\naws_access_key_id = {user[KEYS[0]]}\n"
                f"aws_secret_access_key = {user[KEYS[1]]}\nendpoint_url = {trap.url}\n"
                f"[services all]\nsts =\n  endpoint_url = {trap.url}\n"
            )
            put(
                monkeypatch,
                **further,
                AWS_CONFIG_FILE=str(tmp_path / "config"),
                AWS_PROFILE="deploy",
                AWS_ENDPOINT_URL_STS=wire.url,
                AWS_ENDPOINT_URL_SECRETS_MANAGER=wire.url,
            )
            assert read(name) == secret("value")
            assert trap.count == 0

    def test_a_containers_role(self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        user = keys(wire_server(wire), allow(READ))
        given = {
            "AccessKeyId": user[KEYS[0]],
            "SecretAccessKey": user[KEYS[1]],
            "Token": "",
            "Expiration": in_an_hour(),
        }
        with FaultServer(lambda _: Answer.json(given)) as container:
            put(
                monkeypatch,
                AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{container.url}/role",
                AWS_CONTAINER_AUTHORIZATION_TOKEN="pod",
            )
            assert read(name) == secret("value")
            assert [request.headers["authorization"] for request in container.requests] == ["pod"]

    def test_an_instances_role(self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        user = keys(wire_server(wire), allow(READ))
        given = {
            "Code": "Success",
            "AccessKeyId": user[KEYS[0]],
            "SecretAccessKey": user[KEYS[1]],
            "Token": "",
            "Expiration": in_an_hour(),
        }
        answers = [Answer(200, b"ticket"), Answer(200, b"deploy"), Answer.json(given)]
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer(lambda number: answers[number - 1]) as metadata:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.url}/")
            assert read(name) == secret("value")
            assert metadata.count == 3


class TestMachine:
    """Where what gives the role cannot do so now, that is said, and not that there is none."""

    @pytest.mark.parametrize("status", [429, 500, 503])
    @pytest.mark.parametrize("where", ["container", "instance"])
    def test_one_that_is_busy_is_tried_again(
        self, wire: Wire, name: str, where: str, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = keys(wire_server(wire), allow(READ))
        given = {
            "Code": "Success",
            "AccessKeyId": user[KEYS[0]],
            "SecretAccessKey": user[KEYS[1]],
            "Token": "",
            "Expiration": in_an_hour(),
        }
        good = [Answer.json(given)] if where == "container" else [Answer(200, b"t"), Answer(200, b"deploy")]
        answers = iter([Answer(status), *good, Answer.json(given)])
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer(lambda _: next(answers)) as machine:
            variable = {
                "container": "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "instance": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            }[where]
            monkeypatch.setenv(variable, f"{machine.url}/")
            backend = SecretsManager(session=new_session())
            error = error_of(lambda: backend.read(ref(f"aws:{name}"), timeout=SECONDS))
            assert (error.exit_code, wire.count, machine.count) == (75, 0, 1)
            assert error.message.startswith("the metadata service ")
            assert backend.read(ref(f"aws:{name}"), timeout=SECONDS) == secret("value")

    def test_plain_http_to_a_machine_other_than_a_metadata_service_is_refused(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.example/")
        error = error_of(lambda: read("a"))
        assert (error.exit_code, wire.count) == (78, 0)
        assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" in error.message

    def test_one_that_refuses_is_no_credential(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        with FaultServer(403) as machine:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{machine.url}/")
            assert error_of(lambda: read("a")).exit_code == 77


class TestFurtherRole:
    def test_it_is_assumed_with_whatever_was_found(
        self, wire: Wire, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire_server(wire)
        put(
            monkeypatch,
            **keys(server, allow("sts:AssumeRole")),
            ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=server.role(anybody_with("team-7"), allow(READ)),
            ASTRO_TOKEN_AWS_EXTERNAL_ID="team-7",
            AWS_ROLE_SESSION_NAME="deploy-42",
        )
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRole", "GetSecretValue"]
        assert b"RoleSessionName=deploy-42" in wire.requests[0].body

    def test_from_a_jobs_role_too(
        self, wire: Wire, name: str, job: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire_server(wire)
        put(
            monkeypatch,
            AWS_ROLE_ARN=server.role(trust_of(issuer, "sts.amazonaws.com", SUBJECT), allow("sts:AssumeRole")),
            ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=server.role(anybody_with("team-7"), allow(READ)),
            ASTRO_TOKEN_AWS_EXTERNAL_ID="team-7",
        )
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "AssumeRole", "GetSecretValue"]

    @pytest.mark.parametrize("external_id", [None, "other"])
    def test_a_role_that_does_not_trust_us(
        self, wire: Wire, name: str, external_id: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = wire_server(wire)
        put(
            monkeypatch,
            **keys(server, allow("sts:AssumeRole")),
            ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=server.role(anybody_with("team-7"), allow(READ)),
            **({"ASTRO_TOKEN_AWS_EXTERNAL_ID": external_id} if external_id else {}),
        )
        error = error_of(lambda: read(name))
        assert error.exit_code == 77
        assert "ASTRO_TOKEN_AWS_EXTERNAL_ID" in str(error.hint)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN", "deploy"),
            ("ASTRO_TOKEN_AWS_EXTERNAL_ID", "x"),
            ("AWS_ROLE_SESSION_NAME", "a b"),
        ],
    )
    def test_a_setting_that_cannot_be(
        self, wire: Wire, name: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, **keys(wire_server(wire)))
        put(monkeypatch, ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/r")
        put(monkeypatch, **{variable: value})
        error = error_of(lambda: read(name))
        assert error.exit_code == 78
        assert variable in error.message
        assert wire.count == 0


class TestJob:
    def test_its_identity_takes_two_requests_and_neither_is_signed_by_a_stored_key(
        self, wire: Wire, name: str, job: CiIdentity, role: str
    ) -> None:
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue"]
        assert "authorization" not in wire.requests[0].headers
        assert len(job.requests) == 1
        assert b"RoleSessionName=astro-token" in wire.requests[0].body

    @pytest.mark.parametrize("machine", [404, 403, 500, "refused", "hang"])
    def test_a_machine_that_is_no_instance_does_not_keep_a_job_from_its_identity(
        self, wire: Wire, name: str, job: CiIdentity, role: str, machine: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer(404 if machine == "refused" else machine) as metadata:
            url = f"http://127.0.0.1:{refused_port()}" if machine == "refused" else metadata.url
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{url}/")
            assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue"]

    def test_a_login_that_failed_is_made_anew(
        self, nobody: MiniStack, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(503) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            backend = SecretsManager(session=new_session())
            codes = [
                error_of(lambda: backend.read(ref("aws:a"), timeout=SECONDS)).exit_code for _ in range(3)
            ]
            assert (codes, sts.count) == ([75, 75, 75], 3)

    def test_an_audience_of_ones_own(
        self, wire: Wire, name: str, job: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(
            monkeypatch,
            AWS_ROLE_ARN=wire_server(wire).role(trust_of(issuer, "acme", SUBJECT), allow(READ)),
            ASTRO_TOKEN_AWS_AUDIENCE="acme",
        )
        assert read(name) == secret("value")

    def test_a_token_in_a_variable(
        self, wire: Wire, name: str, role: str, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = issuer.mint({"aud": "sts.amazonaws.com", "sub": SUBJECT})
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", token)
        assert read(name) == secret("value")
        assert operations(wire) == ["AssumeRoleWithWebIdentity", "GetSecretValue"]

    def test_a_static_key_wins_and_the_job_is_not_even_asked(
        self, wire: Wire, name: str, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = keys(wire_server(wire), allow(READ))
        put(monkeypatch, **user)
        assert read(name) == secret("value")
        assert session_of(wire) == user[KEYS[0]]
        assert job.requests == []

    @pytest.mark.parametrize("claims", [{"sub": "repo:other/dags"}, {"iss": "https://other.example"}])
    def test_a_job_that_the_role_does_not_trust(
        self, wire: Wire, name: str, job: CiIdentity, role: str, claims: dict[str, object]
    ) -> None:
        job.claims = claims
        error = error_of(lambda: read(name), job.secret)
        assert not any(appearances(token, reachable_text(error)) for token in job.issued)
        assert error.exit_code == 77
        assert "trust policy" in str(error.hint)
        assert "ASTRO_TOKEN_AWS_AUDIENCE" in str(error.hint)
        assert operations(wire) == ["AssumeRoleWithWebIdentity"]

    def test_an_audience_that_the_role_does_not_trust(
        self, wire: Wire, name: str, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_AWS_AUDIENCE", "other")
        error = error_of(lambda: read(name))
        assert error.exit_code == 77
        assert "audience" in str(error.hint)

    def test_an_identity_that_fails_is_an_error_of_its_own(
        self, wire: Wire, name: str, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong")
        error = error_of(lambda: read(name))
        assert error.exit_code == 77
        assert "GitHub" in error.message
        assert wire.count == 0

    def test_what_expires_is_renewed_with_a_new_identity(
        self, nobody: MiniStack, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        value = Answer.json({"SecretString": "value", "VersionId": "v" * 32})

        def answer(request: Request) -> Answer:
            # The SDK renews what ends within ten minutes before each use.
            return login_answer(timedelta(minutes=5)) if b"WebIdentityToken" in request.body else value

        with HttpServer(answer) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            backend = SecretsManager(session=new_session())
            for _ in range(2):
                assert backend.read(ref("aws:a"), timeout=SECONDS) == secret("value")
            logins = [request.body for request in server.requests if b"WebIdentityToken" in request.body]
        assert len(logins) == len(set(logins)) == len(job.requests) >= 2

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            (500, 75),
            (429, 75),
            ("reset", 75),
            (307, 76),
            ("html", 76),
            ("empty", 76),
            ("cut-json", 76),
            (404, 76),
            (403, 77),
            (
                Answer(
                    400,
                    b"<ErrorResponse><Error><Code>IDPCommunicationError</Code></Error></ErrorResponse>",
                    {},
                    "text/xml",
                ),
                75,
            ),
            (
                Answer(
                    400,
                    b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>",
                    {},
                    "text/xml",
                ),
                77,
            ),
            (
                Answer(
                    400,
                    b"<ErrorResponse><Error><Code>ExpiredTokenException</Code></Error></ErrorResponse>",
                    {},
                    "text/xml",
                ),
                77,
            ),
            (
                Answer(
                    403,
                    b"<ErrorResponse><Error><Code>RegionDisabledException</Code></Error></ErrorResponse>",
                    {},
                    "text/xml",
                ),
                78,
            ),
        ],
    )
    def test_a_login_service_that_fails(
        self,
        nobody: MiniStack,
        job: CiIdentity,
        role: str,
        mode: Any,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200) as other, FaultServer(mode, redirect=other.url) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            error = error_of(lambda: read("a"), *job.issued, job.secret)
            assert (sts.count, other.count) == (1, 0)
        assert error.exit_code == code

    def test_a_login_service_that_is_not_there_and_one_that_has_no_name(
        self, nobody: MiniStack, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for url, code in ((f"http://127.0.0.1:{refused_port()}", 75), ("https://sts.invalid", 69)):
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
            assert error_of(lambda: read("a")).exit_code == code

    def test_the_login_is_made_in_the_references_region(
        self, nobody: MiniStack, job: CiIdentity, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ConnectProxy() as proxy:
            monkeypatch.delenv("AWS_ENDPOINT_URL")
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error_of(lambda: read("a?region=eu-central-1"))
        assert proxy.targets == ["sts.eu-central-1.amazonaws.com:443"]

    def test_the_role_that_is_none_is_said(
        self, wire: Wire, job: CiIdentity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ROLE_ARN", "deploy")
        error = error_of(lambda: read("a"))
        assert (error.exit_code, "AWS_ROLE_ARN" in error.message) == (78, True)


class TestNoCredential:
    @pytest.mark.parametrize("scheme", ["aws", "aws-ssm", "aws-kms"])
    def test_it_says_quickly_what_was_looked_for_and_what_is_there(
        self, nobody: MiniStack, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
        error = failed(scheme)
        assert type(error) is NoCredentialError
        for found in (
            "AWS_ACCESS_KEY_ID is empty",
            "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
            "AWS_PROFILE is not set",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set",
            "AWS_EC2_METADATA_DISABLED is set",
            "AWS_ROLE_ARN is not set",
        ):
            assert found in str(error.hint)

    def test_a_job_without_the_right_to_an_identity_is_told_how_to_get_it(
        self, nobody: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(monkeypatch, GITHUB_ACTIONS="true", AWS_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/r")
        error = failed("aws")
        assert error.exit_code == 77
        assert "id-token: write" in str(error.hint)

    def test_a_silent_metadata_service_takes_no_longer(
        self, nobody: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer("hang") as silent:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{silent.url}/")
            error = failed("aws")
            assert silent.count > 0
        assert (BackendUnavailableError, 75) == (type(error), error.exit_code)
        assert error.message == "the metadata service did not answer in time"

    def test_half_a_key_is_said(self, nobody: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
        error = failed("aws")
        assert error.exit_code == 77
        assert "AWS_SECRET_ACCESS_KEY" in str(error.hint)


class TestWhereAnIdentityGoes:
    def test_a_profiles_address_gets_no_web_identity(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
    ) -> None:
        with FaultServer(500) as trap, FaultServer(500) as proxy:
            (tmp_path / "config").write_text(f"[default]\nendpoint_url = {trap.url}\nregion = eu-west-1\n")
            (tmp_path / "identity").write_text(canary)
            put(
                monkeypatch,
                AWS_CONFIG_FILE=str(tmp_path / "config"),
                AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "identity"),
                AWS_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/r",
                HTTPS_PROXY=proxy.url,  # a trap of its own, for no test may reach the real service
            )
            error_of(lambda: read("a"), canary)
            assert not proxy.saw(canary)
            assert trap.connections == 0

    def test_the_metadata_of_an_instance_is_asked_through_no_proxy(
        self, nobody: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        with FaultServer(500) as metadata, FaultServer(500) as proxy:
            put(
                monkeypatch,
                AWS_EC2_METADATA_SERVICE_ENDPOINT=f"{metadata.url}/",
                http_proxy=proxy.url,
                HTTP_PROXY=proxy.url,
            )
            error_of(lambda: read("a"))
            assert metadata.count > 0
            assert proxy.count == 0


def test_what_exec_keeps_from_its_child() -> None:
    for scheme in ("aws", "aws-ssm", "aws-kms"):
        assert {"AWS_SESSION_TOKEN", "ASTRO_TOKEN_AWS_EXTERNAL_ID"} <= set(BUILTIN[scheme].credentials)


def failed(scheme: str) -> AstroTokenError:
    """The error, which comes long before the timeout."""
    backend = open_backend(scheme)
    with within(1):
        if scheme == "aws-kms":
            return error_of(lambda: backend.decrypt(ref("aws-kms:alias/a"), b"x", timeout=30))
        return error_of(lambda: backend.read(ref(f"{scheme}:a"), timeout=30))


def wire_server(wire: Wire) -> MiniStack:
    """The server behind it, for making users; only its endpoint is needed."""
    from tests.servers.ministack import MiniStack

    server = MiniStack()
    server.endpoint = wire.upstream
    return server


def anybody_with(external_id: str) -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
    }


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def login_answer(lifetime: timedelta) -> Answer:
    ends = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {
        "AccessKeyId": "ASIA0000000000000000",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": ends,
    }
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    outer = ("AssumeRoleWithWebIdentityResponse", "AssumeRoleWithWebIdentityResult", "Credentials")
    for element in reversed(outer):
        text = f"<{element}>{text}</{element}>"
    return Answer(200, text.encode(), {}, "text/xml")
