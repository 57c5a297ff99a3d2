from __future__ import annotations

import base64
import datetime as dt
import json
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    NoCredentialError,
    result,
)
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from astro_token.transport.deadline import Deadline, Workers
from tests.backends.azure.service import CLIENT, environment, ref
from tests.backends.clouds import failure, quick_failure, read
from tests.servers.azure import AzureServer, Fault
from tests.servers.ci_identity import CiIdentity
from tests.servers.faults import ConnectProxy, FaultServer, refused_port
from tests.servers.http1 import HttpServer
from tests.servers.jwks import rsa_key
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

SUBJECTS = {"github": "repo:acme/dags:ref:refs/heads/main", "azure-pipelines": "sc://acme/dags/cloud"}


@pytest.fixture
def stored(server: AzureServer, name: str) -> str:
    server.put(name, "value")
    return ref(server, name)


@pytest.fixture
def application(server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenant and the client, without a proof."""
    monkeypatch.setenv("AZURE_TENANT_ID", server.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", server.client_id)


@pytest.fixture
def job(issuer: Issuer) -> Iterator[CiIdentity]:
    with CiIdentity(issuer) as made:
        yield made


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No identity of a virtual machine, and no program."""
    monkeypatch.setenv("PATH", "/nothing")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{refused_port()}")


def in_the_job(monkeypatch: pytest.MonkeyPatch, job: CiIdentity, system: str) -> None:
    for name, value in job.environment(system).items():
        if name != "PATH":
            monkeypatch.setenv(name, value)


def logins(server: AzureServer) -> list[str]:
    return [
        request.method for request in server.requests if not request.path.startswith(("/secrets", "/keys"))
    ]


class TestFederation:
    @pytest.mark.parametrize("system", ["github", "azure-pipelines"])
    def test_a_jobs_identity_logs_in_with_no_stored_credential(
        self,
        certificates: Certificates,
        issuer: Issuer,
        job: CiIdentity,
        system: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with AzureServer(certificates.server.context()) as fresh:
            for variable, setting in environment(fresh, certificates).items():
                if variable != "AZURE_CLIENT_SECRET":
                    monkeypatch.setenv(variable, setting)
            in_the_job(monkeypatch, job, system)
            fresh.trust(issuer, subject=SUBJECTS[system])
            fresh.put("api", "value")
            assert read(open_backend("azure"), ref(fresh, "api")).reveal() == b"value"
            # The challenge, the token, the secret.
            assert ["GET", "POST", "GET"] == [request.method for request in fresh.requests]
            assert len(job.requests) == 1

    def test_a_token_that_the_system_hands_over(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        issuer: Issuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        subject = f"project_path:acme/{uuid.uuid4()}"
        server.trust(issuer, subject=subject, audience="https://vault.example.com")
        token = issuer.mint({"sub": subject, "aud": "https://vault.example.com"})
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", token)
        assert "another audience" in failure(open_backend("azure"), stored).message
        monkeypatch.setenv("ASTRO_TOKEN_AZURE_AUDIENCE", "https://vault.example.com")
        assert read(open_backend("azure"), stored).reveal() == b"value"

    def test_a_service_connection_names_the_application(
        self,
        server: AzureServer,
        stored: str,
        issuer: Issuer,
        job: CiIdentity,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.trust(issuer, subject=SUBJECTS["azure-pipelines"])
        in_the_job(monkeypatch, job, "azure-pipelines")
        monkeypatch.setenv("AZURESUBSCRIPTION_TENANT_ID", server.tenant)
        monkeypatch.setenv("AZURESUBSCRIPTION_CLIENT_ID", server.client_id)
        assert read(open_backend("azure"), stored).reveal() == b"value"

    @pytest.mark.parametrize(
        ("claims", "word"),
        [
            ({"iss": "https://elsewhere.example"}, "issuer"),
            ({"sub": "repo:evil/dags"}, "subject"),
            ({"aud": "api://other"}, "audience"),
        ],
    )
    def test_a_refusal_says_what_the_federated_credential_lacks(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        issuer: Issuer,
        claims: dict[str, str],
        word: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        subject = f"repo:acme/{uuid.uuid4()}"
        server.trust(issuer, subject=subject)
        payload = {"sub": subject, "aud": "api://AzureADTokenExchange", **claims}
        token = issuer.mint(payload)
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", token)
        monkeypatch.setenv("ASTRO_TOKEN_AZURE_AUDIENCE", payload["aud"])
        error = failure(open_backend("azure"), stored, canaries=[token])
        assert error.exit_code == 77
        assert f"has the {word} of the identity token" in error.message
        assert payload["aud"] in str(error.hint)
        assert "AADSTS" not in error.message + str(error.hint)

    def test_an_identity_that_fails_is_an_error_and_not_passed_over(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        job: CiIdentity,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        in_the_job(monkeypatch, job, "github")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong")
        assert failure(open_backend("azure"), stored).exit_code == 77
        assert logins(server) == []

    def test_an_untrusted_signature(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        issuer: Issuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.trust(issuer, subject="ci-untrusted")
        claims: dict[str, object] = {"sub": "ci-untrusted", "aud": "api://AzureADTokenExchange"}
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", issuer.mint(claims, key=rsa_key()))
        assert "cannot verify" in failure(open_backend("azure"), stored).message

    def test_a_pods_token_is_read_anew_for_each_login(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        issuer: Issuer,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.trust(issuer, subject="pod")
        file = tmp_path / "token"
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
        backend: Any = open_backend("azure")
        assert failure(backend, stored).exit_code == 78
        file.write_text(issuer.mint({"sub": "pod", "aud": "api://AzureADTokenExchange"}) + "\n")
        assert read(backend, stored).reveal() == b"value"
        assert logins(server) == ["POST"]


class TestWhichIsUsed:
    def test_a_secret_wins_over_the_jobs_identity(
        self,
        server: AzureServer,
        stored: str,
        principal: None,
        job: CiIdentity,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        in_the_job(monkeypatch, job, "github")
        assert read(open_backend("azure"), stored).reveal() == b"value"
        assert job.requests == []

    def test_a_managed_identity_that_the_environment_tells_of_wins_too(
        self, server: AzureServer, stored: str, job: CiIdentity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_the_job(monkeypatch, job, "github")
        monkeypatch.setenv("AZURE_TENANT_ID", server.tenant)
        monkeypatch.setenv("AZURE_CLIENT_ID", server.machine_id)
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
        assert read(open_backend("azure"), stored).reveal() == b"value"
        assert (job.requests, logins(server)) == ([], [])
        assert len(server.identity_requests) == 1

    def test_a_jobs_identity_is_used_before_anything_has_to_be_asked_for(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        issuer: Issuer,
        job: CiIdentity,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        started = az(tmp_path, monkeypatch, server.issue())
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.identity_url)
        server.trust(issuer, subject=SUBJECTS["github"])
        in_the_job(monkeypatch, job, "github")
        assert read(open_backend("azure"), stored).reveal() == b"value"
        assert (False, []) == (started(), server.identity_requests)

    def test_unless_another_way_is_named(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        job: CiIdentity,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        started = az(tmp_path, monkeypatch, server.issue())
        in_the_job(monkeypatch, job, "github")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
        assert read(open_backend("azure"), stored).reveal() == b"value"
        assert (True, []) == (started(), job.requests)

    @pytest.mark.parametrize("name", ["InteractiveBrowserCredential", "VisualStudioCodeCredential", "broker"])
    def test_no_login_that_asks_a_person_is_used(
        self, server: AzureServer, stored: str, nothing_else: None, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import webbrowser

        opened: list[str] = []
        monkeypatch.setattr(webbrowser, "get", lambda *given: opened.append(str(given)))
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name)
        error = quick_failure(open_backend("azure"), stored)
        assert (78, []) == (error.exit_code, opened)

    @pytest.mark.parametrize("logged_in", [True, False])
    def test_a_developers_login(
        self,
        server: AzureServer,
        stored: str,
        nothing_else: None,
        tmp_path: Path,
        logged_in: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A program that nobody has used is not started."""
        started = az(tmp_path, monkeypatch, server.issue(), logged_in=logged_in)
        if logged_in:
            assert read(open_backend("azure"), stored).reveal() == b"value"
        else:
            assert quick_failure(open_backend("azure"), stored).exit_code == 77
        assert logged_in is started()

    def test_a_machines_identity(
        self, server: AzureServer, stored: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.identity_url)
        assert read(open_backend("azure"), stored).reveal() == b"value"
        monkeypatch.setenv("AZURE_CLIENT_ID", str(uuid.uuid4()))
        open_backend("azure").close()
        monkeypatch.setenv("PATH", "/nothing")
        assert failure(open_backend("azure"), stored).exit_code == 77

    def test_a_certificate(
        self,
        server: AzureServer,
        stored: str,
        application: None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        good, bad = (client_certificate(tmp_path / name) for name in ("good.pem", "bad.pem"))
        server.directory.trust_certificate(good.read_bytes())
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(bad))
        assert failure(open_backend("azure"), stored).exit_code == 77
        open_backend("azure").close()
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(good))
        assert read(open_backend("azure"), stored).reveal() == b"value"
        open_backend("azure").close()
        server.login_faults.append(Fault(503))
        assert failure(open_backend("azure"), stored).exit_code == 75


class TestRefusals:
    def test_a_managed_identity_that_fails_is_told_from_one_that_refuses(
        self, server: AzureServer, stored: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        error = failure(open_backend("azure"), stored)
        assert (77, "the managed identity of IDENTITY_ENDPOINT gives no token") == (
            error.exit_code,
            error.message,
        )
        server.login_faults.append(Fault(500))
        assert failure(open_backend("azure"), stored).exit_code == 75
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{refused_port()}/msi/token")
        open_backend("azure").close()
        assert quick_failure(open_backend("azure"), stored).exit_code == 75

    @pytest.mark.parametrize("address", ["http://10.0.0.1/msi/token", "http://127.0.0.1.example/msi/token"])
    def test_an_identity_is_not_asked_for_in_clear_elsewhere(
        self, server: AzureServer, stored: str, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", address)
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        with ConnectProxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            assert failure(open_backend("azure"), stored).exit_code == 78
            assert proxy.requests == []

    @pytest.mark.parametrize("missing", ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"])
    def test_half_of_a_login(
        self, backend: Any, server: AzureServer, stored: str, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(missing)
        assert failure(backend, stored).exit_code == 78
        assert server.requests == [] or logins(server) == []

    def test_the_vault_of_another_tenant(
        self, server: AzureServer, stored: str, principal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_TENANT_ID", str(uuid.uuid4()))
        error = failure(open_backend("azure"), stored, canaries=[server.client_secret])
        assert (77, True) == (error.exit_code, "another tenant" in error.message)
        assert logins(server) == []

    def test_a_challenge_for_what_is_no_vault_gets_no_token(
        self,
        principal: None,
        server: AzureServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The same holds for a listed host."""
        for resource in (
            "https://management.azure.com",
            "https://evil.example",
            "http://vault.azure.net",
            "https://vault.azure.net/x",
        ):
            with AzureServer(certificates.server.context(), resource=resource) as hostile:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{hostile.port}")
                assert failure(open_backend("azure"), f"azure:{hostile.url}/secrets/s").exit_code == 76
        assert server.requests == []

    @pytest.mark.parametrize(("with_port", "code"), [(True, None), (False, None), (None, 76)])
    def test_a_listed_host_requests_a_token_for_itself(
        self,
        principal: None,
        certificates: Certificates,
        with_port: bool | None,
        code: int | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Not for another port of it."""
        with AzureServer(certificates.server.context()) as vault:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{vault.port}")
            for name, value in environment(vault, certificates).items():
                monkeypatch.setenv(name, value)
            port = {True: f":{vault.port}", False: "", None: ":1"}[with_port]
            monkeypatch.setattr(vault, "resource", f"https://127.0.0.1{port}")
            vault.directory._resources.add(vault.resource)
            vault.put("s", "value")
            name = f"azure:{vault.url}/secrets/s"
            if code is None:
                assert b"value" == read(open_backend("azure"), name).reveal()
            else:
                assert code == failure(open_backend("azure"), name).exit_code

    def test_a_vault_of_another_cloud_than_the_login_service(
        self,
        principal: None,
        server: AzureServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        host = f"v{uuid.uuid4().hex[:8]}.vault.azure.cn"
        with ConnectProxy(routes={host: server.port}) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = failure(open_backend("azure"), f"azure:https://{host}/secrets/s")
            assert proxy.requests == []
        assert (77, True) == (error.exit_code, "AZURE_AUTHORITY_HOST" in str(error.hint))

    def test_a_challenge_chooses_no_login_service(
        self,
        principal: None,
        server: AzureServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with AzureServer(certificates.server.context()) as hostile:
            hostile.put("s", "x")
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{hostile.port}")
            monkeypatch.setattr(hostile, "tenant", server.tenant)
            error = failure(
                open_backend("azure"), f"azure:{hostile.url}/secrets/s", canaries=[server.client_secret]
            )
            assert error.exit_code == 77
            assert [r for r in hostile.requests if r.carries(server.client_secret)] == []
        assert logins(server) == ["POST"]

    def test_no_credential_lists_what_was_looked_for_and_found(
        self,
        server: AzureServer,
        stored: str,
        nothing_else: None,
        application: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        error = quick_failure(open_backend("azure"), stored)
        assert error.exit_code == 77
        assert "found: AZURE_TENANT_ID, AZURE_CLIENT_ID" in str(error.hint)
        assert "id-token: write" in str(error.hint)
        open_backend("azure").close()
        again = failure(open_backend("azure"), stored)
        assert (error.message, error.hint) == (again.message, again.hint)

    @pytest.mark.parametrize("which", ["unknown_ca", "expired", "wrong_host"])
    def test_a_login_service_that_cannot_be_trusted(
        self,
        backend: Any,
        certificates: Certificates,
        stored: str,
        which: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200, tls=getattr(certificates, which).context()) as other:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", other.url)
            assert failure(backend, stored).exit_code == 76
            assert other.requests == []

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b'{"token_type":"Bearer","expires_in":3599}', 76),
            (b'{"access_token":1,"expires_in":3599}', 76),
            (b'{"access_token":"a\\r\\nb","expires_in":3599}', 76),
            (b'{"access_token":"x","expires_in":"soon"}', 76),
            (b'{"access_token":"x","expires_in":-1}', 76),
            (b'{"access_token":"x"', 76),
        ],
    )
    def test_an_answer_of_the_login_without_what_it_must_have(
        self,
        backend: Any,
        certificates: Certificates,
        stored: str,
        body: bytes,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200, body, tls=certificates.server.context()) as other:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", other.url)
            assert code == failure(backend, stored).exit_code


class TestSovereignClouds:
    @pytest.mark.parametrize(
        ("authority", "domain"),
        [
            ("https://login.microsoftonline.us", "vault.usgovcloudapi.net"),
            ("login.chinacloudapi.cn", "vault.azure.cn"),
            ("https://login.microsoftonline.com/", "vault.azure.net"),
        ],
    )
    def test_the_login_service_says_where_a_vaults_name_leads(
        self,
        server: AzureServer,
        certificates: Certificates,
        authority: str,
        domain: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # The SDK remembers the challenges of all hosts for as long as it runs.
        vault = f"v{uuid.uuid4().hex[:8]}"
        login, host = authority.removeprefix("https://").rstrip("/"), f"{vault}.{domain}"
        tls = certificates.issue(host, login, host).context()
        with AzureServer(tls, resource=f"https://{domain}") as fresh:
            fresh.put("s", "value")
            for name in CLIENT:
                monkeypatch.setenv(name, environment(fresh, certificates)[name])
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
            with ConnectProxy(routes={host: fresh.port, login: fresh.port}) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                assert read(open_backend("azure"), f"azure:{vault}/s").reveal() == b"value"
            assert [f"{login}:443", f"{host}:443"] == proxy.targets


@pytest.mark.parametrize(
    ("login", "read_one", "write_one"),
    [
        ("secret", ["POST", "GET"], ["POST", "GET", "PUT"]),
        ("pod", ["POST", "GET"], ["POST", "GET", "PUT"]),
        ("job", ["POST", "GET"], ["POST", "GET", "PUT"]),
        ("environment", ["GET", "identity", "GET"], ["GET", "identity", "GET", "PUT"]),
        ("certificate", ["GET", "GET", "POST", "GET"], ["GET", "GET", "POST", "GET", "PUT"]),
        ("machine", ["GET", "identity", "GET"], ["GET", "identity", "GET", "PUT"]),
    ],
)
def test_the_requests_are_as_many_as_the_documentation_says(
    certificates: Certificates,
    issuer: Issuer,
    tmp_path: Path,
    login: str,
    read_one: list[str],
    write_one: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a vault and a login service of the public cloud, by their real names."""
    with AzureServer(certificates.server.context()) as fresh:
        for variable, setting in environment(fresh, certificates).items():
            if variable in {"ASTRO_TOKEN_CA_BUNDLE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"}:
                monkeypatch.setenv(variable, setting)
        prove(login, fresh, issuer, tmp_path, monkeypatch)
        for calls in (["read"], ["write"]):
            # The SDK remembers the challenges of all hosts for as long as it runs.
            host = f"v{uuid.uuid4().hex[:8]}.vault.azure.net"
            tls = certificates.issue(host, host, "login.microsoftonline.com").context()
            with HttpServer(fresh._answer, tls=tls) as cloud:
                routes = dict.fromkeys((host, "login.microsoftonline.com"), cloud.port)
                fresh.put("s", "value")
                fresh.identity_requests.clear()
                monkeypatch.setattr(fresh, "authority", "https://login.microsoftonline.com")
                with ConnectProxy(routes=routes) as proxy:
                    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                    backend: Any = open_backend("azure")
                    ref = SecretRef.parse(f"azure:https://{host}/secrets/s")
                    if calls == ["read"]:
                        backend.read(ref, timeout=10)
                    else:
                        backend.write(ref, SecretValue(b"new"), expected_version=None, timeout=10)
                    backend.close()
                seen = [(request.time, request.method) for request in cloud.requests]
                seen += [(request.time, "identity") for request in fresh.identity_requests]
                wanted = read_one if calls == ["read"] else write_one
                assert wanted == [what for _, what in sorted(seen)]


def prove(
    login: str, server: AzureServer, issuer: Issuer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configure a login."""
    token = issuer.mint({"sub": "s", "aud": "api://AzureADTokenExchange"})
    server.trust(issuer, subject="s")
    (folder / "token").write_text(token)
    if login in {"environment", "machine"}:
        monkeypatch.delenv("AZURE_CLIENT_ID")
    given = {
        "secret": {"AZURE_CLIENT_SECRET": server.client_secret},
        "pod": {"AZURE_FEDERATED_TOKEN_FILE": str(folder / "token")},
        "job": {"ASTRO_TOKEN_ID_TOKEN": token},
        "environment": {
            "IDENTITY_ENDPOINT": server.identity_endpoint,
            "IDENTITY_HEADER": server.identity_header,
        },
        "machine": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.identity_url},
        "certificate": {"AZURE_CLIENT_CERTIFICATE_PATH": str(folder / "client.pem")},
    }
    if login == "certificate":
        server.directory.trust_certificate(client_certificate(folder / "client.pem").read_bytes())
    for name, value in given[login].items():
        monkeypatch.setenv(name, value)


def test_no_challenge_drops_the_access_token_of_another_thread(
    server: AzureServer, stored: str, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.keyvault.secrets._shared.challenge_auth_policy import ChallengeAuthPolicy

    policies = []
    on_request = ChallengeAuthPolicy.on_request

    def recorded(policy: Any, request: Any) -> None:
        on_request(policy, request)
        policies.append(policy)

    monkeypatch.setattr(ChallengeAuthPolicy, "on_request", recorded)
    read(backend, stored)
    thread = threading.Thread(target=lambda: read(backend, stored))
    thread.start()
    thread.join(60)
    assert len(policies) == 2
    assert policies[0] is not policies[1]  # the SDK keeps the access token there, and drops it at a challenge
    assert logins(server) == ["POST"]


def test_threads_log_in_once(server: AzureServer, stored: str, backend: Any) -> None:
    threads = [threading.Thread(target=lambda: read(backend, stored)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert logins(server) == ["POST"]


def test_a_login_is_kept_for_the_next_attempt(server: AzureServer, stored: str, backend: Any) -> None:
    server.faults.append(Fault(503))
    assert failure(backend, stored).exit_code == 75
    read(backend, stored)
    assert logins(server) == ["POST"]


def test_a_proxy_gets_its_password_and_nothing_else(
    server: AzureServer, principal: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(name, "value")
    hosts = ("login.microsoftonline.com", "proxied.vault.azure.net")
    monkeypatch.delenv("AZURE_AUTHORITY_HOST")
    with ConnectProxy(routes=dict.fromkeys(hosts, server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://some:p%40ss@"))
        assert read(open_backend("azure"), f"azure:proxied/{name}").reveal() == b"value"
        basic = base64.b64encode(b"some:p@ss").decode()
        assert {f"Basic {basic}"} == {
            request.headers.get("proxy-authorization") for request in proxy.requests
        }
        assert not proxy.saw(server.client_secret)
    assert [request for request in server.requests if basic in str(request.headers)] == []


@pytest.mark.parametrize("status", [407, 403])
def test_a_proxy_that_refuses(
    server: AzureServer, principal: None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy(status=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert failure(open_backend("azure"), "azure:refusing/s").exit_code == 78


class TestSlowAndEndedSessions:
    @pytest.fixture(autouse=True)
    def no_machine(self, server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{refused_port()}")

    def test_a_slow_program_gets_the_time_of_the_whole_call(
        self, server: AzureServer, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        az(tmp_path, monkeypatch, server.issue(), first=f"echo x >> {tmp_path}/starts; sleep 2.5")
        backend: Any = open_backend("azure")
        parsed = SecretRef.parse(stored)

        def read_twice() -> list[bytes]:
            deadline = Deadline(20, attempt=1)
            workers = Workers(deadline, 2)
            jobs = [
                workers.submit(lambda: deadline.retry(lambda seconds: backend.read(parsed, timeout=seconds)))
                for _ in range(2)
            ]
            return [result(job.outcome()).reveal() for job in jobs]

        assert [b"value", b"value"] == read_twice()
        backend.close()
        value = Deadline(20, attempt=1).retry(lambda seconds: backend.read(parsed, timeout=seconds))
        assert b"value" == value.reveal()
        assert "x\nx\n" == (tmp_path / "starts").read_text()

    def test_a_program_that_does_not_end_in_time(
        self, server: AzureServer, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        az(tmp_path, monkeypatch, server.issue(), first="exec sleep 30")
        backend: Any = open_backend("azure")
        with within(3), pytest.raises(BackendUnavailableError, match="login with az did not end in time"):
            Deadline(2, attempt=1).retry(
                lambda seconds: backend.read(SecretRef.parse(stored), timeout=seconds)
            )

    @pytest.mark.parametrize(
        ("code", "words"),
        [("700082", "the session of az has ended"), ("50020", "the session of az gives no access")],
    )
    def test_a_session_that_the_login_service_refuses(
        self,
        server: AzureServer,
        stored: str,
        tmp_path: Path,
        code: str,
        words: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        says = (
            f"ERROR: AADSTS{code}: Some words. Run the command below to authenticate interactively: az login"
        )
        az(tmp_path, monkeypatch, server.issue(), first=f"echo '{says}' >&2; exit 1")
        error = quick_failure(open_backend("azure"), stored)
        assert (77, words) == (error.exit_code, error.message[: len(words)])
        assert type(error) is AccessDeniedError
        assert str(error.hint).startswith("log in again: az login, ")
        assert "AADSTS" not in error.message + str(error.hint)

    @pytest.mark.parametrize(
        ("output", "kind", "words"),
        [
            ("ERROR: WORDS Please run az login to setup account.", NoCredentialError, "there is no Azure"),
            ("ERROR: WORDS the token cache is locked", AccessDeniedError, "the login of az failed"),
            ("", AccessDeniedError, "the login of az failed"),
        ],
    )
    def test_nobody_is_logged_in_or_the_program_fails(
        self,
        server: AzureServer,
        stored: str,
        tmp_path: Path,
        output: str,
        kind: type[AstroTokenError],
        words: str,
        canary: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        output = output.replace("WORDS", canary)
        az(tmp_path, monkeypatch, server.issue(), first=f"echo '{output}' >&2; exit 1")
        backend = open_backend("azure")
        error = quick_failure(backend, stored)
        assert (kind, True) == (type(error), error.message.startswith(words))
        assert "az login" in str(error.hint)
        assert [] == appearances(canary, error.message + str(error.hint))
        monkeypatch.setenv("CI", "true")
        hint = str(quick_failure(backend, stored).hint)
        assert ("az login" in hint, "AZURE_CLIENT_ID" in hint) == (False, True)


def az(
    folder: Path, monkeypatch: pytest.MonkeyPatch, token: str, *, logged_in: bool = True, first: str = ":"
) -> Callable[[], bool]:
    """
    Install a stand-in for `az`. Return a function that is true once it was started.

    Args:
        first: a command of its script.
    """
    programs = folder / "programs"
    programs.mkdir()
    trace = folder / "started"
    later = int(time.time()) + 3000
    program = programs / "az"
    answer = {"accessToken": token, "expires_on": later, "expiresOn": "2099-01-01 00:00:00.000000"}
    program.write_text(f"#!/bin/sh\necho started > {trace}\n{first}\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    if logged_in:
        (folder / "home" / ".azure").mkdir()
    return trace.exists


def client_certificate(path: Path) -> Path:
    key = rsa_key(2048)  # the SDK warns of a shorter one
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(plain + made.public_bytes(pem))
    return path
