"""Logging in: with what the machine has, in all forms, and as the job of a CI system."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secrets.registry import open_backend
from astro_token_backends.gcp.client import Connection
from astro_token_backends.gcp.secret_manager import SecretManager
from tests.backends.clouds import in_a_process, modules_after, read
from tests.backends.gcp.calls import failure
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import BlackHole, ConnectProxy, FaultServer, refused_port
from tests.servers.gcp import Code, Fault
from tests.servers.gcp_identity import Identities
from tests.servers.http1 import Answer
from tests.timing import SLACK, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.certificates import Certificates
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

# As the command line: prints the value, or the exit code of a failure and its time with the import.
IN_A_PROCESS = """
import time
from astro_token.system.sdk_imports import allow_placeholders
allow_placeholders()
start = time.monotonic()
from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
try:
    print(open_backend("gcp").read(SecretRef.parse("gcp:p1/{name}"), timeout=30).reveal().decode())
except AstroTokenError as error:
    print(error.exit_code, time.monotonic() - start)
"""
DEPLOYER = "deployer@p1.iam.gserviceaccount.com"
GITHUB = "repo:acme/dags:ref:refs/heads/main"
GITLAB = "project_path:acme/dags:ref_type:branch:ref:main"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.fixture
def login(gcp_login: GcpLogin, server: GcpServer, monkeypatch: pytest.MonkeyPatch) -> GcpLogin:
    monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", f"127.0.0.1:{gcp_login.port}")
    monkeypatch.setenv("ASTRO_TOKEN_GCP_IAM_ENDPOINT", f"127.0.0.1:{gcp_login.port}")
    gcp_login.requests.clear()
    gcp_login.metadata_requests.clear()
    return gcp_login


@pytest.fixture
def oauth2(login: GcpLogin, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """Leads to our token endpoint whoever asks Google's own."""
    with ConnectProxy(routes={"oauth2.googleapis.com": login.port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


@pytest.fixture
def ci(
    issuer: Issuer, certificates: Certificates, server: GcpServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CiIdentity]:
    """GitHub Actions."""
    with CiIdentity(issuer, tls=certificates.server.context()) as system:
        for variable, value in system.environment("github").items():
            monkeypatch.setenv(variable, value)
        yield system


@pytest.fixture
def provider(login: GcpLogin, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A workload identity provider that takes the job's identity; the `aud` that it wants."""
    trusted = login.trust(issuer, subject=GITHUB, accounts=(DEPLOYER,))
    monkeypatch.setenv(
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", trusted.removeprefix("//iam.googleapis.com/")
    )
    return f"https:{trusted}"


@pytest.fixture
def present(server: GcpServer, name: str, canary: str) -> str:
    server.put(f"projects/p1/secrets/{name}", canary.encode())
    return f"gcp:p1/{name}"


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Makes a file of this content the credential."""

    def use(content: object) -> None:
        file = tmp_path / "adc.json"
        file.touch(0o600)
        file.write_text(json.dumps(content))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    return use


def external(trusted: str, source: dict[str, Any], **more: object) -> dict[str, object]:
    return {
        "type": "external_account",
        "audience": trusted,
        "subject_token_type": JWT,
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": source,
        **more,
    }


def principal(server: GcpServer) -> str:
    """Who read the secret last."""
    return server.identities.principal(server.seen[-1].metadata["authorization"].removeprefix("Bearer "))


def paths(login: GcpLogin) -> list[str]:
    return [request.path for request in login.requests]


class TestWhatTheMachineHas:
    def test_a_service_accounts_key_signs_for_itself(
        self, login: GcpLogin, server: GcpServer, account: ServiceAccount, key_file: Path, present: str
    ) -> None:
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        read(open_backend("gcp"), present)
        assert (account.email, 1, []) == (principal(server), len(server.seen), paths(login))

    def test_a_developers_login(
        self,
        oauth2: ConnectProxy,
        login: GcpLogin,
        server: GcpServer,
        use: Callable[[object], None],
        present: str,
    ) -> None:
        use(login.user("developer@example.com"))
        read(open_backend("gcp"), present)
        read(open_backend("gcp"), present)
        assert ("developer@example.com", ["/token"]) == (principal(server), paths(login))
        assert oauth2.targets == ["oauth2.googleapis.com:443"]

    @pytest.mark.parametrize("variable", [True, False])
    def test_the_file_that_gcloud_leaves(
        self,
        oauth2: ConnectProxy,
        login: GcpLogin,
        server: GcpServer,
        present: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        variable: bool,
    ) -> None:
        folder = tmp_path / "elsewhere" if variable else tmp_path / "home" / ".config" / "gcloud"
        folder.mkdir(parents=True)
        if variable:
            monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
        content = {**login.user(), "quota_project_id": "p2"}
        (folder / "application_default_credentials.json").write_text(json.dumps(content))
        read(open_backend("gcp"), present)
        assert len(oauth2.targets) == 1
        assert server.seen[-1].metadata["x-goog-user-project"] == "p2"

    @pytest.mark.parametrize("source", ["file", "url", "executable"])
    def test_an_external_account(
        self,
        login: GcpLogin,
        server: GcpServer,
        issuer: Issuer,
        present: str,
        use: Callable[[object], None],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
    ) -> None:
        trusted = login.trust(issuer, subject="job")
        token = issuer.mint({"sub": "job", "aud": f"https:{trusted}"})
        (tmp_path / "identity").write_text(token)
        program = tmp_path / "program"
        answer = {"version": 1, "success": True, "token_type": JWT, "id_token": token, "expiration_time": 4e9}
        answer["expiration_time"] = 4_000_000_000
        # Its standard input is not ours, which belongs to the command.
        script = f"import sys\nassert not sys.stdin.read()\nprint({json.dumps(answer)!r})\n"
        program.write_text(f"#!{sys.executable}\n{script}")
        program.chmod(0o700)
        monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
        with FaultServer(lambda _: Answer.json({"value": token})) as agent:
            sources: dict[str, dict[str, Any]] = {
                "file": {"file": str(tmp_path / "identity")},
                "url": {
                    "url": f"{agent.url}/identity",
                    "headers": {"Authorization": "agent"},
                    "format": {"type": "json", "subject_token_field_name": "value"},
                },
                "executable": {"executable": {"command": str(program), "timeout_millis": 5000}},
            }
            use(external(trusted, sources[source]))
            read(open_backend("gcp"), present)
            assert [request.headers["authorization"] for request in agent.requests] == (
                ["agent"] if source == "url" else []
            )
        # No project is looked up, which nobody needs.
        assert ["/v1/token"] == paths(login)
        assert principal(server).endswith("/subject/job")

    def test_an_identity_of_aws(
        self,
        login: GcpLogin,
        server: GcpServer,
        present: str,
        use: Callable[[object], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        trusted = login.trust_aws("AKIAIOSFODNN7EXAMPLE")
        variables = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x" * 40}
        for variable, value in {**variables, "AWS_REGION": "eu-west-1"}.items():
            monkeypatch.setenv(variable, value)
        verify = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
        source = {"environment_id": "aws1", "regional_cred_verification_url": verify}
        kind = "urn:ietf:params:aws:token-type:aws4_request"
        use({**external(trusted, source), "subject_token_type": kind})
        read(open_backend("gcp"), present)
        assert ["/v1/token"] == paths(login)
        assert principal(server).endswith("/AKIAIOSFODNN7EXAMPLE")

    def test_an_external_account_that_acts_for_another(
        self,
        login: GcpLogin,
        server: GcpServer,
        issuer: Issuer,
        present: str,
        use: Callable[[object], None],
        tmp_path: Path,
    ) -> None:
        trusted = login.trust(issuer, subject="job", accounts=(DEPLOYER,))
        (tmp_path / "identity").write_text(issuer.mint({"sub": "job", "aud": f"https:{trusted}"}))
        acting = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{DEPLOYER}"
        use(
            external(
                trusted,
                {"file": str(tmp_path / "identity")},
                service_account_impersonation_url=f"{acting}:generateAccessToken",
            )
        )
        read(open_backend("gcp"), present)
        assert (DEPLOYER, 2) == (principal(server), len(login.requests))

    def test_a_developer_who_acts_for_a_service_account(
        self,
        oauth2: ConnectProxy,
        login: GcpLogin,
        server: GcpServer,
        present: str,
        use: Callable[[object], None],
    ) -> None:
        login.allow("developer@example.com", DEPLOYER)
        acting = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{DEPLOYER}"
        use(
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": f"{acting}:generateAccessToken",
                "source_credentials": login.user("developer@example.com"),
                "delegates": [],
            }
        )
        read(open_backend("gcp"), present)
        assert (DEPLOYER, 2, 1) == (principal(server), len(login.requests), len(oauth2.targets))

    def test_the_variable_makes_a_key_act_for_another_account(
        self,
        login: GcpLogin,
        server: GcpServer,
        account: ServiceAccount,
        key_file: Path,
        present: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        login.allow(account.email, DEPLOYER)
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", DEPLOYER)
        read(open_backend("gcp"), present)
        assert (DEPLOYER, 1) == (principal(server), len(login.requests))
        done = in_a_process(IN_A_PROCESS.format(name=present.rpartition("/")[2]))
        assert ("", DEPLOYER, 2) == (done.stderr, principal(server), len(login.requests))

    @pytest.mark.parametrize("acting", [True, False])
    def test_the_machines_account(
        self, login: GcpLogin, server: GcpServer, name: str, present: str, canary: str, acting: bool
    ) -> None:
        login.allow(login.machine_account, DEPLOYER)
        # In a process of its own: the SDK reads the address of the metadata server when it is imported.
        variables = {"GCE_METADATA_HOST": login.metadata_host, "GCE_METADATA_IP": login.metadata_host}
        variables |= {"ASTRO_TOKEN_GCP_SERVICE_ACCOUNT": DEPLOYER} if acting else {}
        done = in_a_process(IN_A_PROCESS.format(name=name), NO_GCE_CHECK=None, **variables)
        assert (canary, "") == (done.stdout.strip(), done.stderr)
        assert (DEPLOYER if acting else login.machine_account, 2, acting) == (
            principal(server),
            len(login.metadata_requests),
            len(login.requests) == 1,
        )

    def test_a_quota_project_is_passed_on(
        self, server: GcpServer, key_file: Path, present: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "p3")
        read(open_backend("gcp"), present)
        assert server.seen[-1].metadata["x-goog-user-project"] == "p3"


class TestTheJobsIdentity:
    def test_github_actions_in_two_requests(
        self, ci: CiIdentity, login: GcpLogin, provider: str, server: GcpServer, present: str, canary: str
    ) -> None:
        before = set(Path(os.environ["HOME"]).rglob("*"))
        assert canary == read(open_backend("gcp"), present).reveal().decode()
        assert (["/v1/token"], 1) == (paths(login), len(server.seen))
        assert principal(server).endswith(f"/subject/{GITHUB}")
        assert [provider] == [request.query["audience"] for request in ci.requests]
        assert before == set(Path(os.environ["HOME"]).rglob("*"))

    def test_acting_for_a_service_account_in_three(
        self,
        ci: CiIdentity,
        login: GcpLogin,
        provider: str,
        server: GcpServer,
        present: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", DEPLOYER)
        read(open_backend("gcp"), present)
        assert (DEPLOYER, 2, 1) == (principal(server), len(login.requests), len(server.seen))
        assert len(ci.requests) == 1

    def test_gitlab_by_its_variable(
        self,
        login: GcpLogin,
        server: GcpServer,
        issuer: Issuer,
        present: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        trusted = login.trust(issuer, subject=GITLAB)
        monkeypatch.setenv("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", trusted)  # as gcloud prints it
        monkeypatch.setenv("GITLAB_CI", "true")
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", issuer.mint({"sub": GITLAB, "aud": f"https:{trusted}"}))
        read(open_backend("gcp"), present)
        assert (["/v1/token"], 1) == (paths(login), len(server.seen))
        assert principal(server).endswith(f"/subject/{GITLAB}")

    def test_another_audience_is_asked_for_by_name(
        self,
        ci: CiIdentity,
        login: GcpLogin,
        provider: str,
        present: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_AUDIENCE", provider.removeprefix("https:"))
        read(open_backend("gcp"), present)
        assert [provider.removeprefix("https:")] == [request.query["audience"] for request in ci.requests]

    def test_a_process_logs_in_once(
        self, ci: CiIdentity, login: GcpLogin, provider: str, server: GcpServer, present: str, key: str
    ) -> None:
        backend = open_backend("gcp")
        threads = [threading.Thread(target=read, args=(backend, present)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failure_code(open_backend("gcp-kms"), key) == 65
        assert (9, 1, 1) == (len(server.seen), len(login.requests), len(ci.requests))

    def test_a_login_is_kept_for_the_next_attempt(
        self, ci: CiIdentity, login: GcpLogin, provider: str, server: GcpServer, present: str
    ) -> None:
        server.faults.append(Fault(Code.UNAVAILABLE))
        assert failure(open_backend("gcp"), present).exit_code == 75
        read(open_backend("gcp"), present)
        assert (2, 1, 1) == (len(server.seen), len(login.requests), len(ci.requests))

    def test_a_credential_of_the_machine_wins(
        self, ci: CiIdentity, login: GcpLogin, provider: str, key_file: Path, present: str
    ) -> None:
        read(open_backend("gcp"), present)
        assert ([], []) == (paths(login), ci.requests)

    def test_a_login_that_the_service_no_longer_takes_is_made_again(
        self, ci: CiIdentity, login: GcpLogin, provider: str, server: GcpServer, present: str
    ) -> None:
        backend = open_backend("gcp")
        read(backend, present)
        server.identities.revoke(server.seen[-1].metadata["authorization"].removeprefix("Bearer "))
        assert failure(backend, present).exit_code == 77
        read(backend, present)
        assert len(login.requests) == 2

    def test_a_token_that_has_expired_is_renewed(
        self, ci: CiIdentity, login: GcpLogin, provider: str, present: str
    ) -> None:
        connection = Connection()
        backend = SecretManager(connection=connection)
        read(backend, present)
        credential = connection.login._credential
        assert credential is not None
        credential.value.expiry = credential.value.expiry.replace(year=2020)
        read(backend, present)
        assert (2, 2) == (len(login.requests), len(ci.requests))
        backend.close()


def failure_code(kms: Any, key: str) -> int:
    from astro_token.secrets.ref import SecretRef
    from tests.backends.gcp.calls import failure_of

    return failure_of(lambda: kms.decrypt(SecretRef.parse(f"gcp-kms:{key}"), b"x", timeout=10)).exit_code


class TestRefusedLogins:
    def test_a_key_that_the_service_does_not_know(
        self, server: GcpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stranger = Identities().service_account().write(tmp_path / "stranger.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(stranger))
        assert (77, 1) == (failure(open_backend("gcp"), "gcp:p1/s").exit_code, len(server.seen))

    @pytest.mark.parametrize(
        "content",
        [
            None,
            "",
            "{}",
            "[]",
            '{"type": "service_account"}',
            '{"type": "authorized_user"}',
            '{"type": "external_account", "credential_source": 5}',
            '{"type": "impersonated_service_account"}',
            '{"type": "unheard_of"}',
        ],
    )
    def test_a_file_that_is_no_credential(
        self, server: GcpServer, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "key.json"
        if content is not None:
            file.write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        error = failure(open_backend("gcp"), "gcp:p1/s")
        assert (77, True) == (error.exit_code, "GOOGLE_APPLICATION_CREDENTIALS" in error.message)
        assert server.seen == []

    @pytest.mark.parametrize("source", ["file", "url", "executable"])
    def test_an_external_account_whose_source_fails(
        self, login: GcpLogin, source: str, use: Callable[[object], None], tmp_path: Path, canary: str
    ) -> None:
        with FaultServer(404, canary.encode()) as agent:
            sources: dict[str, dict[str, Any]] = {
                "file": {"file": str(tmp_path / "nothing")},
                "url": {"url": agent.url},
                "executable": {"executable": {"command": "/bin/false"}},  # nor is it allowed
            }
            use(external("//iam.googleapis.com/x", sources[source]))
            error = failure(open_backend("gcp"), "gcp:p1/s", canary)
        assert (76 if source == "url" else 77, []) == (error.exit_code, paths(login))

    def test_a_developers_login_that_was_revoked(
        self, oauth2: ConnectProxy, login: GcpLogin, use: Callable[[object], None]
    ) -> None:
        use({**login.user(), "refresh_token": "1//revoked"})
        error = failure(open_backend("gcp"), "gcp:p1/s")
        again = "log in again: gcloud auth application-default login; unset GOOGLE_APPLICATION_CREDENTIALS"
        assert (77, again) == (error.exit_code, error.hint)
        assert (1, 1) == (len(login.requests), len(oauth2.targets))

    def test_gclouds_own_file_whose_login_has_expired(
        self, oauth2: ConnectProxy, login: GcpLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expired = {**login.user(), "refresh_token": "1//expired"}
        (tmp_path / "application_default_credentials.json").write_text(json.dumps(expired))
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        backend = open_backend("gcp")
        error = failure(backend, "gcp:p1/s")
        assert (77, "log in again: gcloud auth application-default login") == (error.exit_code, error.hint)
        monkeypatch.setenv("CI", "true")
        hint = str(failure(backend, "gcp:p1/s").hint)
        assert ("gcloud" in hint, "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER" in hint) == (False, True)

    @pytest.mark.parametrize("audience", [True, False])
    def test_an_identity_that_the_provider_does_not_take(
        self,
        ci: CiIdentity,
        login: GcpLogin,
        provider: str,
        monkeypatch: pytest.MonkeyPatch,
        audience: bool,
    ) -> None:
        if audience:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_AUDIENCE", "https://elsewhere.example")
        else:
            ci.claims["sub"] = "repo:evil/dags"
        error = failure(open_backend("gcp"), "gcp:p1/s", *ci.issued)
        assert (77, True) == (error.exit_code, "attribute condition" in str(error.hint))
        assert "ASTRO_TOKEN_GCP_AUDIENCE" in str(error.hint)
        assert len(login.requests) == 1

    def test_an_account_that_it_may_not_act_for(
        self, ci: CiIdentity, login: GcpLogin, provider: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", "other@p1.iam.gserviceaccount.com")
        error = failure(open_backend("gcp"), "gcp:p1/s", *ci.issued)
        assert (77, True) == (error.exit_code, "iam.serviceAccounts.getAccessToken" in str(error.hint))
        assert len(login.requests) == 2

    def test_a_ci_system_that_gives_no_identity_now(
        self, ci: CiIdentity, login: GcpLogin, provider: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job")
        assert (77, []) == (failure(open_backend("gcp"), "gcp:p1/s").exit_code, paths(login))

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", "projects/p1/locations/global/x"),
            ("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", "https://evil.example/projects/1"),
            ("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", "a/../b@p1"),
            ("ASTRO_TOKEN_GCP_STS_ENDPOINT", "https://sts.example.com"),
            ("ASTRO_TOKEN_GCP_IAM_ENDPOINT", "user@iam:443"),
            ("ASTRO_TOKEN_GCP_ENDPOINT", "http://127.0.0.1:443"),
            ("ASTRO_TOKEN_GCP_ENDPOINT", "host"),
            ("ASTRO_TOKEN_GCP_ENDPOINT", "user@host:443"),
            ("ASTRO_TOKEN_GCP_ENDPOINT", "host:port"),
            ("ASTRO_TOKEN_GCP_ENDPOINT", "host:443/x"),
            ("HTTPS_PROXY", "socks5://proxy.example:1080"),
            ("REQUESTS_CA_BUNDLE", "/nowhere"),
            ("ASTRO_TOKEN_CA_BUNDLE", "/nowhere"),
        ],
    )
    def test_a_malformed_variable_is_named(
        self,
        ci: CiIdentity,
        login: GcpLogin,
        provider: str,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", DEPLOYER)
        if variable == "HTTPS_PROXY":  # which nobody takes to loopback
            monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", "sts.example.com:443")
            for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS"):
                monkeypatch.delenv(name)
            monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", ci.mint(GITHUB, provider))
        monkeypatch.setenv(variable, value)
        error = failure(open_backend("gcp"), "gcp:p1/s", *ci.issued)
        assert (78, True) == (error.exit_code, variable in error.message)
        assert value not in error.message + str(error.hint)

    def test_a_credential_goes_over_plain_http_to_no_other_machine(
        self, server: GcpServer, use: Callable[[object], None], tmp_path: Path, canary: str
    ) -> None:
        (tmp_path / "identity").write_text(canary)
        source = {"file": str(tmp_path / "identity")}
        use(external("//iam.googleapis.com/x", source, token_url="http://sts.example.com/v1/token"))
        error = failure(open_backend("gcp"), "gcp:p1/s", canary)
        assert (78, True) == (error.exit_code, "is not https" in error.message)


class TestNoCredential:
    def test_what_was_looked_for_is_listed(self, server: GcpServer) -> None:
        backend = open_backend("gcp")
        error = failure(backend, "gcp:p1/s")
        for source in (
            "GOOGLE_APPLICATION_CREDENTIALS (not set)",
            "gcloud's file (does not exist)",
            "the metadata server (skipped because of NO_GCE_CHECK)",
            "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER (not set)",
        ):
            assert source in str(error.hint)
        assert (77, []) == (error.exit_code, server.seen)
        with within(0):
            failure(backend, "gcp:p1/s")

    def test_a_ci_system_without_an_identity_is_told_how_to_give_one(
        self, login: GcpLogin, provider: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        error = failure(open_backend("gcp"), "gcp:p1/s")
        assert (77, []) == (error.exit_code, paths(login))
        assert "GitHub Actions" in str(error.hint)
        assert "id-token: write" in str(error.hint)

    @pytest.mark.parametrize("kind", ["silent", "dropped", "refused", "web", "unknown"])
    def test_what_is_no_metadata_server_is_soon_known(self, server: GcpServer, kind: str) -> None:
        # As of another cloud, at the address that all have for theirs.
        with BlackHole(connect=kind == "silent") as hole, FaultServer(200, b"<html>") as web:
            host = {
                "dropped": f"127.0.0.1:{hole.port}",
                "silent": f"127.0.0.1:{hole.port}",
                "refused": f"127.0.0.1:{refused_port()}",
                "web": f"127.0.0.1:{web.port}",
                "unknown": "metadata.invalid",
            }[kind]
            done = in_a_process(
                IN_A_PROCESS.format(name="s"), NO_GCE_CHECK=None, GCE_METADATA_HOST=host, GCE_METADATA_IP=host
            )
            assert (kind == "web") == (web.count == 1)
        code, taken = done.stdout.split()
        # Plain http goes to this machine, to link-local addresses and to Google's own name, and nowhere else.
        # A server that accepts the connection has failed.
        expected = {"unknown": 78, "silent": 75}.get(kind, 77)
        assert (expected, "", True) == (int(code), done.stderr, float(taken) < 2 + SLACK)

    @pytest.mark.parametrize(
        ("status", "exit_code"),
        [(404, 77), (503, 75)]
        + [pytest.param(*more, marks=pytest.mark.long) for more in [(429, 75), (403, 77)]],
    )
    def test_a_metadata_server_that_gives_none(self, server: GcpServer, status: int, exit_code: int) -> None:
        flavor = {"Metadata-Flavor": "Google"}
        with FaultServer(status, b"no", headers=flavor, content_type="text/html") as metadata:
            host = f"127.0.0.1:{metadata.port}"
            done = in_a_process(
                IN_A_PROCESS.format(name="s"), NO_GCE_CHECK=None, GCE_METADATA_HOST=host, GCE_METADATA_IP=host
            )
            assert metadata.count == 1
        assert (exit_code, "") == (int(done.stdout.split()[0]), done.stderr)

    @pytest.mark.parametrize("kind", ["refused", "silent"])
    def test_where_no_metadata_server_answers_the_job_is_asked(
        self, ci: CiIdentity, login: GcpLogin, provider: str, name: str, present: str, canary: str, kind: str
    ) -> None:
        with BlackHole(connect=True) as hole:
            host = f"127.0.0.1:{refused_port() if kind == 'refused' else hole.port}"
            done = in_a_process(
                IN_A_PROCESS.format(name=name),
                NO_GCE_CHECK=None,
                GCE_METADATA_HOST=host,
                GCE_METADATA_IP=host,
            )
        assert (canary, "") == (done.stdout.strip(), done.stderr)


def test_an_injected_credential_is_used_and_kept(login: GcpLogin, server: GcpServer, present: str) -> None:
    from google.oauth2.credentials import Credentials

    made: Any = Credentials
    backend = SecretManager(connection=Connection(credential=made(server.identities.issue("me@example.com"))))
    for _ in range(2):
        read(backend, present)
        backend.close()
    assert ("me@example.com", []) == (principal(server), paths(login))


def test_a_key_that_signs_for_itself_loads_no_login_that_asks(key_file: Path, server: GcpServer) -> None:
    loaded = modules_after(
        "from astro_token.secrets.ref import SecretRef\n"
        "from astro_token.secrets.registry import open_backend\n"
        "try: open_backend('gcp').read(SecretRef.parse('gcp:p1/nothing'), timeout=5)\n"
        "except Exception: pass"
    )
    assert {"grpc", "google.oauth2.service_account"} <= loaded
    others = {
        "google.auth.compute_engine",
        "google.auth.identity_pool",
        "google.auth.impersonated_credentials",
    }
    assert others & loaded == set()
