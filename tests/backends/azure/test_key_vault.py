from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from astro_token.registry import open_backend
from astro_token.testing import BackendContract, Harness, appearances
from astro_token_backends.azure.key_vault import KeyVault
from tests.backends.clouds import failure, logged, modules_after, quick_failure, read
from tests.servers.azure import AzureServer, Fault
from tests.servers.faults import BlackHole, ConnectProxy, FaultServer, Mode, refused_port
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.jwks import Issuer

CLIENT = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


def environment(server: AzureServer, certificates: Certificates) -> dict[str, str]:
    """What leads the SDK to a server, with a credential."""
    return {
        "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{server.port}",
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        "AZURE_AUTHORITY_HOST": server.url,
        "AZURE_TENANT_ID": server.tenant,
        "AZURE_CLIENT_ID": server.client_id,
        "AZURE_CLIENT_SECRET": server.client_secret,
    }


@pytest.fixture
def server(
    azure_server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> AzureServer:
    """The server, with all of an environment but a credential."""
    for name, value in environment(azure_server, certificates).items():
        if name not in CLIENT:
            monkeypatch.setenv(name, value)
    azure_server.forget()
    return azure_server


@pytest.fixture
def principal(server: AzureServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLIENT:
        monkeypatch.setenv(name, environment(server, certificates)[name])


@pytest.fixture
def backend(server: AzureServer, principal: None) -> KeyVault:
    made = open_backend("azure")
    assert isinstance(made, KeyVault)
    return made


@pytest.fixture
def name() -> str:
    """Of a secret of the test's own."""
    return f"s-{uuid.uuid4().hex}"


def ref(server: AzureServer, name: str, rest: str = "") -> str:
    return f"azure:{server.url}/secrets/{name}{rest}"


def secret(value: str) -> bytes:
    """What the service answers."""
    return json.dumps(
        {"value": value, "id": f"https://h/secrets/s/{uuid.uuid4().hex}", "attributes": {}}
    ).encode()


def vault(
    server: AzureServer,
    certificates: Certificates,
    mode: Mode,
    body: bytes = b"{}",
    *,
    redirect: str | None = None,
) -> FaultServer:
    """One that sends us to log in, and once we have, answers in this mode."""
    login = f'authorization="{server.url}/{server.tenant}", resource="{server.resource}"'
    challenge = Answer.json({}, 401, {"WWW-Authenticate": f"Bearer {login}"})
    tls = certificates.server.context()
    return FaultServer(lambda number: challenge if number == 1 else mode, body, tls=tls, redirect=redirect)


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: KeyVault, server: AzureServer, name: str) -> Harness:
        def store(data: bytes) -> None:
            server.put(name, data.decode())

        return Harness(backend, store, present=ref(server, name), missing=ref(server, "nothing"))


class TestReading:
    def test_the_first_read_takes_four_requests_and_the_next_one(
        self, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A server of its own: the SDK remembers the challenges of all hosts for as long as it runs.
        with AzureServer(certificates.server.context()) as fresh:
            for variable, setting in environment(fresh, certificates).items():
                monkeypatch.setenv(variable, setting)
            version = fresh.put("api", "value")
            backend = open_backend("azure")
            value = read(backend, ref(fresh, "api"))
            assert (b"value", version) == (value.reveal(), value.version)
            assert ["GET", "GET", "POST", "GET"] == [request.method for request in fresh.requests]
            assert [False, False, False, True] == [request.bearer != "" for request in fresh.requests]
            read(backend, ref(fresh, "api"))
            assert len(fresh.requests) == 5

    def test_a_version_can_be_named_in_two_ways(
        self, backend: KeyVault, server: AzureServer, name: str
    ) -> None:
        first = server.put(name, "first")
        second = server.put(name, "second")
        for rest in (f"/{first}", f"?version={first}"):
            value = read(backend, ref(server, name, rest))
            assert (b"first", first) == (value.reveal(), value.version)
        assert second == read(backend, ref(server, name)).version

    def test_a_vaults_name_leads_to_its_host(
        self, server: AzureServer, principal: None, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.put(name, "value")
        monkeypatch.delenv("ASTRO_TOKEN_AZURE_HOSTS")
        monkeypatch.delenv("AZURE_AUTHORITY_HOST")
        server.authority, kept = "https://login.microsoftonline.com", server.authority
        hosts = ("team.vault.azure.net", "login.microsoftonline.com")
        try:
            with ConnectProxy(routes=dict.fromkeys(hosts, server.port)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                assert read(open_backend("azure"), f"azure:team/{name}").reveal() == b"value"
        finally:
            server.authority = kept
        assert {f"{host}:443" for host in hosts} == set(proxy.targets)

    def test_a_federated_token_takes_the_place_of_a_secret(
        self, server: AzureServer, issuer: Issuer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.put(name, "value")
        server.trust(issuer, subject="ci")
        file = tmp_path / "token"
        file.write_text(issuer.mint({"sub": "ci", "aud": "api://AzureADTokenExchange"}))
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
        monkeypatch.setenv("AZURE_TENANT_ID", server.tenant)
        monkeypatch.setenv("AZURE_CLIENT_ID", server.client_id)
        assert read(open_backend("azure"), ref(server, name)).reveal() == b"value"

    def test_the_machines_identity_goes_through_no_proxy(
        self, server: AzureServer, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.put(name, "value")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.identity_url)
        with ConnectProxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("http_proxy", proxy.url)
            assert read(open_backend("azure"), ref(server, name)).reveal() == b"value"
        assert proxy.requests == []
        assert server.identity_requests != []

    def test_a_password_in_netrc_is_not_sent(
        self, backend: KeyVault, server: AzureServer, name: str, tmp_path: Path
    ) -> None:
        server.put(name, "value")
        netrc = tmp_path / "home" / ".netrc"
        netrc.write_text("machine 127.0.0.1 login someone password hunter2\n")
        netrc.chmod(0o600)
        assert read(backend, ref(server, name)).reveal() == b"value"
        assert [request for request in server.requests if "Basic" in str(request.headers)] == []


class TestRefusals:
    def test_what_is_not_there_any_more(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        server.put(name, canary)
        for rest in (f"/{uuid.uuid4().hex}", f"?version={uuid.uuid4().hex}"):
            assert failure(backend, ref(server, name, rest), canaries=[canary]).exit_code == 66
        server.put(name, canary, enabled=False)
        assert failure(backend, ref(server, name), canaries=[canary]).exit_code == 66

    def test_a_denied_permission_is_named(
        self, backend: KeyVault, server: AzureServer, name: str, canary: str
    ) -> None:
        server.put(name, canary)
        server.restrict(server.client_id, "list")
        error = failure(backend, ref(server, name), canaries=[canary])
        assert error.exit_code == 77
        assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in str(error.hint)

    @pytest.mark.parametrize("variable", CLIENT)
    def test_a_wrong_login(
        self, backend: KeyVault, server: AzureServer, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(uuid.uuid4()))
        error = failure(backend, ref(server, "s"))
        assert error.exit_code == 77
        assert "AZURE_TENANT_ID" in str(error.hint)

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1:{port}",
            "localhost:{port}",
            "team.vault.azure.net.evil.example",
            "team.vault.azure.net:{port}",
            "evilvault.azure.net",
            "a.b.vault.azure.net",
            "team.managedhsm.azure.net",
        ],
    )
    def test_a_host_that_nobody_vouches_for_gets_no_packet(
        self, backend: KeyVault, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200) as trap, ConnectProxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            error = failure(backend, f"azure:https://{host.format(port=trap.port)}/secrets/s")
            assert (0, []) == (trap.connections, proxy.requests)
        assert error.exit_code == 78
        assert "ASTRO_TOKEN_AZURE_HOSTS" in str(error.hint)

    def test_a_challenge_for_another_domain_gets_no_credential(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        tls = certificates.server.context()
        with AzureServer(tls, resource="https://evil.example") as hostile:
            with ConnectProxy(routes={"hostile.vault.azure.net": hostile.port}) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                monkeypatch.setenv("NO_PROXY", "127.0.0.1")
                assert failure(open_backend("azure"), "azure:hostile/s").exit_code == 76
            assert [request.bearer for request in hostile.requests] == [""]
        assert server.requests == []

    def test_plain_http_to_another_login_is_not_even_tried(
        self, backend: KeyVault, server: AzureServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200) as trap:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"http://127.0.0.1.example:{trap.port}")
            error = failure(backend, ref(server, "s"))
            assert trap.connections == 0
        assert error.exit_code == 78
        assert "AZURE_AUTHORITY_HOST" in error.message

    def test_no_credential_at_all_is_said_quickly(
        self, server: AzureServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nothing")
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{refused_port()}")
        error = quick_failure(open_backend("azure"), ref(server, "s"))
        assert error.exit_code == 77
        assert "AZURE_FEDERATED_TOKEN_FILE" in str(error.hint)

    def test_nor_does_a_silent_metadata_service_take_longer(
        self, server: AzureServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nothing")
        with BlackHole(connect=True) as silent:
            # The address is the same on all machines of Azure, and cannot be had here.
            monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", silent.url)
            assert quick_failure(open_backend("azure"), ref(server, "s")).exit_code == 77


class TestFaults:
    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("cut-json", 76),
            ("short-body", 76),
            ("empty", 76),
            ("html", 76),
            ("not-json", 76),
            ("json-array", 76),
            ("json-null", 76),
            ("json-int", 76),
            ("wrong-charset", 76),
            ("reset", 75),
            ("close", 75),
            (204, 76),
            (301, 76),
            (307, 76),
            (400, 64),
            (401, 77),
            (403, 77),
            (404, 66),
            (418, 70),
            (429, 75),
            (500, 75),
            (503, 75),
        ],
    )
    def test_a_damaged_or_failing_answer(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        canary: str,
        mode: str | int,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with vault(server, certificates, mode, secret(canary)) as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            error = failure(open_backend("azure"), f"azure:{other.url}/secrets/s", canaries=[canary])
            assert other.count == 2
        assert code == error.exit_code

    @pytest.mark.parametrize(
        "change",
        [{"value": None}, {"id": None}, {"id": "nonsense"}, {"id": "https://h/secrets/s/v"}],
    )
    def test_an_answer_without_what_it_must_have(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        canary: str,
        change: dict[str, object],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        body = json.dumps({**json.loads(secret(canary)), **change}).encode()
        with vault(server, certificates, 200, body) as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            error = failure(open_backend("azure"), f"azure:{other.url}/secrets/s", canaries=[canary])
        assert error.exit_code == 76

    def test_a_reset_in_the_middle_may_look_like_an_end(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        canary: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with vault(server, certificates, "reset-body", secret(canary)) as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            error = failure(open_backend("azure"), f"azure:{other.url}/secrets/s", canaries=[canary])
            assert other.count == 2
        assert error.exit_code in {75, 76}

    def test_no_redirect_of_the_vault_is_followed(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(200, tls=certificates.server.context()) as trap:
            with vault(server, certificates, 307, redirect=trap.url) as other:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
                assert failure(open_backend("azure"), f"azure:{other.url}/secrets/s").exit_code == 76
            assert trap.connections == 0

    def test_how_long_to_wait_is_passed_on(self, backend: KeyVault, server: AzureServer) -> None:
        server.faults.append(Fault(429, headers={"Retry-After": "7"}))
        start = time.monotonic()
        error = failure(backend, ref(server, "s"))
        assert time.monotonic() - start < 2
        assert (75, 7.0) == (error.exit_code, vars(error)["retry_after"])

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize(("status", "code"), [(429, 75), (500, 75), (503, 75), (401, 77)])
    def test_a_login_that_fails_is_told_from_one_that_refuses(
        self,
        backend: KeyVault,
        server: AzureServer,
        certificates: Certificates,
        method: str,
        status: int,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """GET is the discovery, POST the request for the token."""

        def answer(request: Request) -> Answer:
            return Answer(status) if request.method == method else server.directory.entra(request)

        with HttpServer(answer, tls=certificates.server.context()) as login:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", login.url)
            error = failure(backend, ref(server, "s"))
            assert [method] == [request.method for request in login.requests if request.method == method]
        assert code == error.exit_code

    @pytest.mark.parametrize(
        ("mode", "code"), [("reset", 75), ("hang", 75), ("handshake-plain", 76), (307, 76), ("html", 76)]
    )
    def test_a_login_that_is_not_there(
        self,
        backend: KeyVault,
        server: AzureServer,
        certificates: Certificates,
        mode: str | int,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(200, tls=tls) as trap, FaultServer(mode, redirect=trap.url, tls=tls) as login:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", login.url)
            error = failure(backend, ref(server, "s"), timeout=1)
            assert trap.connections == 0
            assert login.connections == 1
        assert code == error.exit_code

    @pytest.mark.parametrize("which", ["expired", "wrong_host", "unknown_ca", "self_signed"])
    def test_a_certificate_that_cannot_be_trusted(
        self, backend: KeyVault, certificates: Certificates, which: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultServer(200, tls=getattr(certificates, which).context()) as other:
            monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{other.port}")
            assert failure(backend, f"azure:{other.url}/secrets/s").exit_code == 76
            assert other.requests == []

    def test_our_own_authority_is_not_trusted_unasked(
        self, server: AzureServer, principal: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ASTRO_TOKEN_CA_BUNDLE")
        assert failure(open_backend("azure"), ref(server, "s")).exit_code == 76
        assert server.requests == []

    def test_a_vault_that_is_not_there(self, backend: KeyVault, monkeypatch: pytest.MonkeyPatch) -> None:
        refused = f"127.0.0.1:{refused_port()}"
        monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"{refused},vault.invalid")
        assert quick_failure(backend, f"azure:https://{refused}/secrets/s").exit_code == 75
        assert failure(backend, "azure:https://vault.invalid/secrets/s").exit_code == 69


def test_nothing_is_logged_of_the_value_and_the_credentials(
    backend: KeyVault, server: AzureServer, name: str, canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(name, canary)
    caplog.set_level(logging.DEBUG)
    read(backend, ref(server, name))
    failure(backend, ref(server, "nothing"))
    for secret_text in (canary, server.client_secret, server.requests[-1].bearer):
        assert appearances(secret_text, logged(caplog)) == []


def test_importing_the_module_loads_no_sdk() -> None:
    assert {"azure", "azure.core", "msal"} & modules_after(
        "import astro_token_backends.azure.key_vault"
    ) == set()
