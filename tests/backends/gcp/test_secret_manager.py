from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING

import grpc
import pytest

from astro_token.ref import SecretRef
from astro_token.registry import open_backend
from astro_token.testing import BackendContract, Harness, appearances
from astro_token_backends.gcp.secret_manager import SecretManager, _host, _resource
from tests.backends.clouds import failure, in_a_process, logged, modules_after, quick_failure, read
from tests.servers.faults import BlackHole, FaultServer, refused_port
from tests.servers.gcp import Fault, GcpServer
from tests.servers.gcp_identity import Identities

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates, Pair
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin

Code = grpc.StatusCode

READ = """
from astro_token.ref import SecretRef
from astro_token.registry import open_backend
print(open_backend("gcp").read(SecretRef.parse("gcp:p1/{name}"), timeout=10).reveal().decode())
"""
# Prints the exit code of a failure, and how long it took with the import.
TIMED = """
import time
start = time.monotonic()
from astro_token.errors import AstroTokenError
from astro_token.ref import SecretRef
from astro_token.registry import open_backend
try:
    open_backend("gcp").read(SecretRef.parse("gcp:p1/s"), timeout=10)
except AstroTokenError as error:
    print(error.exit_code, time.monotonic() - start)
"""


@pytest.fixture(scope="module")
def account(gcp_server: GcpServer) -> ServiceAccount:
    return gcp_server.identities.service_account()


@pytest.fixture
def key_file(account: ServiceAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = account.write(tmp_path / "key.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


@pytest.fixture
def server(gcp_server: GcpServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> GcpServer:
    monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", gcp_server.endpoint)
    monkeypatch.setenv("ASTRO_TOKEN_CA_BUNDLE", str(certificates.ca_file))
    return gcp_server


@pytest.fixture
def backend(server: GcpServer, key_file: Path) -> SecretManager:
    made = open_backend("gcp")
    assert isinstance(made, SecretManager)
    return made


@pytest.fixture
def name() -> str:
    """Of a secret of the test's own, short."""
    return f"s-{uuid.uuid4().hex}"


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: SecretManager, server: GcpServer, name: str) -> Harness:
        def store(data: bytes) -> None:
            server.put(f"projects/p1/secrets/{name}", data)

        return Harness(backend, store, present=f"gcp:p1/{name}", missing="gcp:p1/nothing")


class TestReading:
    def test_it_takes_one_request(self, backend: SecretManager, server: GcpServer, name: str) -> None:
        version = server.put(f"projects/p1/secrets/{name}", b"value")
        value = read(backend, f"gcp:p1/{name}")
        assert (b"value", version) == (value.reveal(), value.version)
        assert [call.method for call in server.seen] == ["AccessSecretVersion"]

    def test_a_version_can_be_named_in_three_ways(
        self, backend: SecretManager, server: GcpServer, name: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, b"first")
        server.put(full, b"second")
        server.set_aliases(full, {"old": 1})
        for ref in (f"gcp:p1/{name}?version=1", f"gcp:{full}/versions/1", f"gcp:{full}?version=old"):
            value = read(backend, ref)
            assert (value.reveal(), value.version) == (b"first", "1")
        for ref in (f"gcp:p1/{name}?version=latest", f"gcp:{full}", f"gcp:{full}/versions/latest"):
            assert read(backend, ref).version == "2"

    def test_a_regional_secret(self, backend: SecretManager, server: GcpServer, name: str) -> None:
        full = f"projects/p1/locations/europe-west3/secrets/{name}"
        server.put(full, b"value")
        assert read(backend, f"gcp:{full}").reveal() == b"value"

    @pytest.mark.parametrize(
        ("ref", "host"),
        [
            ("gcp:p1/s", "secretmanager.googleapis.com:443"),
            (
                "gcp:projects/p1/locations/europe-west3/secrets/s",
                "secretmanager.europe-west3.rep.googleapis.com:443",
            ),
        ],
    )
    def test_each_region_has_its_own_address(self, ref: str, host: str) -> None:
        assert host == _host(_resource(SecretRef.parse(ref)))

    def test_the_machines_account_is_used_where_there_is_a_metadata_server(
        self, server: GcpServer, gcp_login: GcpLogin, name: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        # In a process of its own: the SDK reads the address of the metadata server when it is imported.
        host = gcp_login.metadata_host
        done = in_a_process(
            READ.format(name=name), NO_GCE_CHECK=None, GCE_METADATA_HOST=host, GCE_METADATA_IP=host
        )
        assert (canary, "") == (done.stdout.strip(), done.stderr)


class TestRefusals:
    def test_a_credential_goes_over_plain_http_to_no_other_machine(
        self, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, canary: str
    ) -> None:
        (tmp_path / "identity").write_text(canary)
        credential = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "http://sts.example.com/v1/token",
            "credential_source": {"file": str(tmp_path / "identity")},
        }
        (tmp_path / "adc.json").write_text(json.dumps(credential))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p1")
        error = failure(SecretManager(), f"gcp:p1/{name}", canaries=[canary])
        assert (78, True) == (error.exit_code, "over plain http" in error.message)

    @pytest.mark.parametrize("option", ["version=9", "version=alias"])
    def test_a_version_that_is_not_there(
        self, backend: SecretManager, server: GcpServer, name: str, option: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        assert failure(backend, f"gcp:p1/{name}?{option}", canaries=[canary]).exit_code == 66

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_a_version_that_is_out_of_use(
        self, backend: SecretManager, server: GcpServer, name: str, state: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.set_state(full, server.put(full, canary.encode()), state)
        assert failure(backend, f"gcp:p1/{name}", canaries=[canary]).exit_code == 66

    def test_a_denied_permission_is_named(
        self, backend: SecretManager, server: GcpServer, account: ServiceAccount, name: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.restrict(account.email, "versions.get")
        error = failure(backend, f"gcp:p1/{name}", canaries=[canary])
        assert error.exit_code == 77
        assert "secretmanager.versions.access" in str(error.hint)

    def test_a_key_that_the_service_does_not_know(
        self, server: GcpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stranger = Identities().service_account().write(tmp_path / "stranger.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(stranger))
        assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 77
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "endpoint",
        ["http://127.0.0.1:443", "https://host:443", "host", "user@host:443", "host:port", "host:443/x"],
    )
    def test_an_endpoint_that_is_no_host_and_port(
        self, key_file: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", endpoint)
        error = failure(open_backend("gcp"), "gcp:p1/s")
        assert error.exit_code == 78
        assert "ASTRO_TOKEN_GCP_ENDPOINT" in error.message

    @pytest.mark.parametrize("content", [None, "", "{}", '{"type": "service_account"}'])
    def test_a_credential_that_is_none(
        self, server: GcpServer, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "key.json"
        if content is not None:
            file.write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        error = failure(open_backend("gcp"), "gcp:p1/s")
        assert error.exit_code == 77
        assert "GOOGLE_APPLICATION_CREDENTIALS" in str(error.hint)
        assert server.seen == []

    def test_no_credential_at_all_is_said_quickly(self, server: GcpServer) -> None:
        error = quick_failure(open_backend("gcp"), "gcp:p1/s")
        assert error.exit_code == 77
        assert "GOOGLE_APPLICATION_CREDENTIALS" in str(error.hint)
        assert server.seen == []

    @pytest.mark.parametrize("silent", [True, False])
    def test_nor_does_a_missing_metadata_service_take_longer(self, server: GcpServer, silent: bool) -> None:
        with BlackHole(connect=True) as hole:
            host = f"127.0.0.1:{hole.port if silent else refused_port()}"
            done = in_a_process(TIMED, NO_GCE_CHECK=None, GCE_METADATA_HOST=host, GCE_METADATA_IP=host)
        code, seconds = done.stdout.split()
        assert (int(code), done.stderr) == (77, "")
        assert float(seconds) < 2


class TestFaults:
    @pytest.mark.parametrize(
        ("code", "exit_code"),
        [
            (Code.UNAVAILABLE, 75),
            (Code.RESOURCE_EXHAUSTED, 75),
            (Code.INTERNAL, 75),
            (Code.DEADLINE_EXCEEDED, 75),
            (Code.ABORTED, 75),
            (Code.CANCELLED, 75),
            (Code.UNKNOWN, 76),
            (Code.DATA_LOSS, 76),
            (Code.UNIMPLEMENTED, 76),
            (Code.INVALID_ARGUMENT, 64),
            (Code.FAILED_PRECONDITION, 66),
            (Code.NOT_FOUND, 66),
            (Code.PERMISSION_DENIED, 77),
            (Code.UNAUTHENTICATED, 77),
        ],
    )
    def test_a_status_is_tried_once(
        self, backend: SecretManager, server: GcpServer, canary: str, code: grpc.StatusCode, exit_code: int
    ) -> None:
        server.faults.append(Fault(code, canary))
        error = failure(backend, "gcp:p1/s", canaries=[canary])
        assert exit_code == error.exit_code
        assert len(server.seen) == 1

    @pytest.mark.parametrize("damage", ["checksum", "data", "no-checksum", "no-payload"])
    def test_a_damaged_answer(
        self, backend: SecretManager, server: GcpServer, name: str, damage: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.damage.append(damage)
        assert failure(backend, f"gcp:p1/{name}", canaries=[canary]).exit_code == 76

    def test_a_silent_service_costs_no_more_than_the_timeout(
        self, backend: SecretManager, server: GcpServer
    ) -> None:
        read_once = failure(backend, "gcp:p1/nothing")  # the connection is there
        assert read_once.exit_code == 66
        server.faults.append(Fault(Code.OK, delay=5))
        start = time.monotonic()
        assert failure(backend, "gcp:p1/s", timeout=0.5).exit_code == 75
        assert time.monotonic() - start < 1

    @pytest.mark.parametrize("which", ["expired", "wrong_host", "unknown_ca", "self_signed"])
    def test_a_certificate_that_cannot_be_trusted(
        self,
        server: GcpServer,
        key_file: Path,
        certificates: Certificates,
        which: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pair: Pair = getattr(certificates, which)
        with FaultServer(500, tls=pair.context()) as other:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", f"127.0.0.1:{other.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76
            assert other.requests == []

    def test_our_own_authority_is_not_trusted_unasked(
        self, backend: SecretManager, server: GcpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ASTRO_TOKEN_CA_BUNDLE")
        assert failure(backend, "gcp:p1/s").exit_code == 76
        assert server.seen == []

    def test_a_redirect_leads_nowhere_and_gets_no_credential(
        self, server: GcpServer, key_file: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(200) as other, FaultServer(307, redirect=other.url, tls=tls) as redirecting:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", f"127.0.0.1:{redirecting.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 75
            assert other.connections == 0
            assert redirecting.count > 0
            assert not redirecting.saw("eyJ")

    def test_a_refused_connection(
        self, server: GcpServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", f"127.0.0.1:{refused_port()}")
        assert quick_failure(open_backend("gcp"), "gcp:p1/s").exit_code == 75

    def test_an_unknown_host(
        self, server: GcpServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", "gcp.invalid:443")
        assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 69


def test_nothing_is_logged_or_printed_of_the_value(
    backend: SecretManager, server: GcpServer, name: str, canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(f"projects/p1/secrets/{name}", canary.encode())
    caplog.set_level(logging.DEBUG)
    read(backend, f"gcp:p1/{name}")
    failure(backend, "gcp:p1/nothing")
    assert appearances(canary, logged(caplog)) == []
    bearer = server.seen[-1].metadata["authorization"].partition(" ")[2]
    assert appearances(bearer, logged(caplog)) == []


def test_the_sdks_own_variables_for_logging_are_without_effect(
    server: GcpServer, key_file: Path, name: str, canary: str
) -> None:
    server.put(f"projects/p1/secrets/{name}", canary.encode())
    loud = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google", "GRPC_TRACE": "http", "GRPC_VERBOSITY": "DEBUG"}
    # Without the registry, which silences loggers: the backend itself must not let them be set up.
    directly = READ.replace(
        'open_backend("gcp")',
        "__import__('astro_token_backends.gcp.secret_manager').gcp.secret_manager.SecretManager()",
    )
    done = in_a_process(directly.format(name=name), **loud)
    assert (canary, "") == (done.stdout.strip(), done.stderr)
    done = in_a_process(TIMED, **loud, ASTRO_TOKEN_CA_BUNDLE=None)
    assert ("76", "") == (done.stdout.split()[0], done.stderr)


def test_importing_the_module_loads_no_sdk() -> None:
    assert {"grpc", "google.auth", "google.cloud.secretmanager_v1"} & modules_after(
        "import astro_token_backends.gcp.secret_manager"
    ) == set()
