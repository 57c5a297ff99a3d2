from __future__ import annotations

import http.client
import json
import logging
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError
from astro_token.secrets.registry import open_backend
from astro_token.testing import BackendContract, Harness, appearances
from tests.backends.azure.service import CLIENT, environment, ref, secret, vault
from tests.backends.clouds import failure, logged, modules_after, quick_failure, read
from tests.conftest import ROOT
from tests.servers.azure import AzureServer, Fault
from tests.servers.faults import BlackHole, ConnectProxy, FaultServer, refused_port
from tests.timing import within

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token_backends.azure.key_vault import KeyVault
    from tests.servers.certificates import Certificates

# The newest and the oldest versions of the SDK that the extra allows.
PYTHONS = (sys.executable, str(ROOT / ".venv-oldest" / "bin" / "python"))


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: KeyVault, server: AzureServer, name: str) -> Harness:
        def store(data: bytes) -> None:
            server.put(name, data.decode())

        return Harness(backend, store, present=ref(server, name), missing=ref(server, "nothing"))


class TestReading:
    def test_the_first_read_takes_three_requests_and_the_next_one(
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
            assert ["GET", "POST", "GET"] == [request.method for request in fresh.requests]
            assert [False, False, True] == [request.bearer != "" for request in fresh.requests]
            read(backend, ref(fresh, "api"))
            assert len(fresh.requests) == 4

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
        hosts = ("login.microsoftonline.com", "team.vault.azure.net")
        with ConnectProxy(routes=dict.fromkeys(hosts, server.port)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert read(open_backend("azure"), f"azure:team/{name}").reveal() == b"value"
        assert [f"{host}:443" for host in hosts] == proxy.targets
        # What a vault of a cloud asks for is known, and is not asked about.
        assert ["POST", "GET"] == [request.method for request in server.requests]

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
                monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
                monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
                monkeypatch.delenv("AZURE_CLIENT_SECRET")
                assert failure(open_backend("azure"), "azure:hostile/s").exit_code == 76
            assert [request.bearer for request in hostile.requests] == [""]
        assert (server.requests, server.identity_requests) == ([], [])

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
            error = quick_failure(open_backend("azure"), ref(server, "s"))
        # It accepts connections, and so a chain of references does not continue.
        assert (BackendUnavailableError, 75) == (type(error), error.exit_code)


class TestFaults:
    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("huge", 76),
            ("gzip-bomb", 76),
            ("wrong-type", 76),
            ("json-nested", 76),
            ("cut-json", 76),
            ("short-body", 75),  # over TLS it has no end, as a reset has none
            ("short-body-ended", 76),
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
            (400, 76),
            (401, 77),
            (403, 77),
            (404, 76),
            (405, 76),
            (408, 75),
            (418, 76),
            (429, 75),
            (500, 75),
            (501, 69),
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
            # An open connection that ends before the response is replaced once.
            assert other.count == (3 if mode in {"reset", "close"} else 2)
            assert other.sent < 1 << 25
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
        error = failure(backend, ref(server, "s"))
        assert len(server.requests) == 1
        assert (75, 7.0) == (error.exit_code, vars(error)["retry_after"])

    @pytest.mark.parametrize(
        ("status", "code"),
        [(408, 75), (429, 75), (500, 75), (401, 77), (403, 77), (404, 76), (418, 76)],
    )
    def test_a_login_that_fails_is_told_from_one_that_refuses(
        self,
        backend: KeyVault,
        server: AzureServer,
        certificates: Certificates,
        status: int,
        code: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultServer(status, b"<html>", tls=certificates.server.context()) as login:
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", login.url)
            error = failure(backend, ref(server, "s"), canaries=[server.client_secret])
            assert ["POST"] == [request.method for request in login.requests]
        assert code == error.exit_code

    @pytest.mark.parametrize("mode", ["hang", "drip-head", "drip-body", "handshake-hang"])
    @pytest.mark.parametrize("where", ["vault", "login"])
    def test_no_server_holds_us_longer_than_the_timeout(
        self,
        server: AzureServer,
        principal: None,
        certificates: Certificates,
        mode: str,
        where: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(mode, secret("x"), tls=tls, drip=0.1) as slow:
            if where == "login":
                monkeypatch.setenv("AZURE_AUTHORITY_HOST", slow.url)
            else:
                monkeypatch.setenv("ASTRO_TOKEN_AZURE_HOSTS", f"127.0.0.1:{slow.port}")
            url = server.url if where == "login" else slow.url
            with within(0.7):
                error = failure(open_backend("azure"), f"azure:{url}/secrets/s", timeout=0.7)
        assert error.exit_code == 75

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("reset", 75),
            ("hang", 75),
            ("handshake-plain", 76),
            (307, 76),
            ("html", 76),
            ("huge", 76),
            ("short-body", 75),  # over TLS it has no end, as a reset has none
            ("short-body-ended", 76),
        ],
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
            error = failure(backend, ref(server, "s"), timeout=1 if mode == "hang" else 10)
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
    backend: KeyVault,
    server: AzureServer,
    name: str,
    canary: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    server.put(name, canary)
    caplog.set_level(logging.DEBUG)
    read(backend, ref(server, name))
    failure(backend, ref(server, "nothing"))
    printed = "".join(capfd.readouterr())
    for secret_text in (canary, server.client_secret, server.requests[-1].bearer):
        assert appearances(secret_text, logged(caplog) + printed) == []


def test_importing_the_modules_loads_no_sdk() -> None:
    loaded = modules_after(
        "import astro_token_backends.azure.key_vault; import astro_token_backends.azure.keys"
    )
    assert {"azure", "azure.core", "msal", "cryptography", "requests"} & loaded == set()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_command_line_imports_the_sdk_without_its_async_classes(python: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from astro_token.system.sdk_imports import allow_placeholders\n"
        "from astro_token_backends.azure.key_vault import KeyVault\n"
        "allow_placeholders()\n"
        "KeyVault()._client('v.vault.azure.net')\n"
        "unused = ('azure.keyvault.secrets._shared.async_client_base', 'email.policy', 'requests')\n"
        "print([name for name in unused if name in sys.modules])\n"
        "from email.policy import HTTP\n"
        "print(HTTP.linesep == '\\r\\n')\n"
    )
    done = subprocess.run(
        [python, "-W", "error", "-c", code], env={}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["[]", "True"])
