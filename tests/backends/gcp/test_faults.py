"""Everything that can go wrong between here and there, and what it must not give away."""

from __future__ import annotations

import http.client
import logging
import os
import resource
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import BackendUnavailableError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from tests.backends.clouds import in_a_process, logged, read
from tests.backends.gcp.calls import failure, failure_of, write
from tests.servers import gcp_faults
from tests.servers.faults import BlackHole, ConnectProxy, Egress, FaultServer, Mode, refused_port
from tests.servers.gcp import Code, Fault, GcpServer
from tests.servers.gcp_faults import Http2Server, headers, message, trailers
from tests.timing import within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astro_token_backends.gcp.kms import KMS
    from astro_token_backends.gcp.secret_manager import SecretManager
    from tests.servers.certificates import Certificates, Pair
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

READ = """
import http.client, logging
logging.basicConfig(level=0)
http.client.HTTPConnection.debuglevel = 1
from astro_token.secrets.ref import SecretRef
from {module} import {name}
try:
    print({name}().read(SecretRef.parse("gcp:p1/{secret}"), timeout=10).reveal().decode())
except Exception as error:
    print(error.exit_code)
"""
LOUD = {
    "GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google",
    "GRPC_TRACE": "all",
    "GRPC_VERBOSITY": "DEBUG",
    "SSLKEYLOGFILE": "keys.log",
}


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, key_file: Path, server: GcpServer) -> Callable[[str], None]:
    """Puts both services at a `host:port`."""

    def put(address: str) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", address)
        monkeypatch.setenv("ASTRO_TOKEN_GCP_KMS_ENDPOINT", address)

    return put


class TestStatuses:
    @pytest.mark.parametrize(
        ("code", "exit_code"),
        [
            (Code.UNAVAILABLE, 75),
            (Code.RESOURCE_EXHAUSTED, 75),
            (Code.INTERNAL, 75),
            (Code.DEADLINE_EXCEEDED, 75),
            (Code.ABORTED, 75),
            (Code.ALREADY_EXISTS, 75),
            (Code.CANCELLED, 75),
            (Code.UNKNOWN, 76),
            (Code.DATA_LOSS, 76),
            (Code.UNIMPLEMENTED, 76),
            (Code.OUT_OF_RANGE, 76),
            (Code.INVALID_ARGUMENT, 64),
            (Code.FAILED_PRECONDITION, 66),
            (Code.NOT_FOUND, 66),
            (Code.PERMISSION_DENIED, 77),
            (Code.UNAUTHENTICATED, 77),
        ],
    )
    def test_a_status_is_tried_once(
        self, backend: SecretManager, server: GcpServer, canary: str, code: Code, exit_code: int
    ) -> None:
        server.faults.append(Fault(code, canary))
        error = failure(backend, "gcp:p1/s", canary)
        assert (exit_code, 1) == (error.exit_code, len(server.seen))

    @pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
    def test_a_service_says_when_to_come_back(
        self, backend: SecretManager, server: GcpServer, code: Code
    ) -> None:
        server.faults.append(Fault(code, retry_after=7.5))
        error = failure(backend, "gcp:p1/s")
        assert isinstance(error, BackendUnavailableError)
        assert error.retry_after == 7.5


class TestAnswers:
    @pytest.mark.parametrize(
        "damage", ["checksum", "data", "no-checksum", "no-payload", "other-secret", "huge"]
    )
    def test_a_damaged_answer(
        self, backend: SecretManager, server: GcpServer, name: str, damage: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.damage.append(damage)
        assert failure(backend, f"gcp:p1/{name}", canary).exit_code == 76

    def test_an_answer_without_an_end_is_not_kept(
        self, put: Callable[[str], None], certificates: Certificates
    ) -> None:
        piece = b"a" * 16000
        answer: list[gcp_faults.Frame | str] = [headers(), message(piece, length=200 << 20)]
        answer += [gcp_faults.part(piece)] * 13000
        with Http2Server(answer, certificates.server.context()) as huge:
            put(huge.endpoint)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024

    @pytest.mark.parametrize("details", ["not base64", "/////w==", "CAcSAm5v"])
    def test_malformed_details_of_a_status(
        self, put: Callable[[str], None], certificates: Certificates, details: str
    ) -> None:
        answer: list[gcp_faults.Frame | str] = [
            headers(),
            trailers(5, **{"grpc-status-details-bin": details}),
        ]
        with Http2Server(answer, certificates.server.context()) as other:
            put(other.endpoint)
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76

    def test_too_much_metadata(self, backend: SecretManager, server: GcpServer) -> None:
        server.faults.append(Fault(Code.NOT_FOUND, metadata=200_000))
        assert failure(backend, "gcp:p1/s").exit_code == 76

    @pytest.mark.parametrize(
        ("answer", "exit_code"),
        [
            ([headers(), message(b"\xff\xff\xff"), trailers(0)], 76),
            ([headers(), message(b"\x0a", length=1), trailers(0)], 76),
            ([headers(), message(b"", length=0), trailers(0)], 76),
            ([headers(), trailers(0)], 76),
            ([headers(), message(b"abc", length=300), trailers(0)], 76),
            ([gcp_faults.RESET], 75),
            ([headers(), gcp_faults.RESET], 75),
            ([headers(), message(b"abc", length=300), gcp_faults.RESET], 75),
        ],
    )
    def test_what_is_no_answer(
        self,
        put: Callable[[str], None],
        certificates: Certificates,
        answer: list[gcp_faults.Frame | str],
        exit_code: int,
    ) -> None:
        with Http2Server(answer, certificates.server.context()) as other:
            put(other.endpoint)
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == exit_code
            assert other.calls == 1

    @pytest.mark.parametrize(
        ("status", "exit_code"),
        [
            (200, 76),
            (204, 76),
            (301, 76),
            (302, 76),
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
            (502, 75),
            (503, 75),
            (504, 75),
        ],
    )
    def test_a_web_server_in_between(
        self, put: Callable[[str], None], certificates: Certificates, status: int, exit_code: int
    ) -> None:
        with Http2Server(status, certificates.server.context()) as other:
            put(other.endpoint)
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == exit_code
            assert other.calls == 1

    @pytest.mark.parametrize("mode", [200, 302, 307, 404, 503, "html", "json-array"])
    def test_a_web_server_that_does_not_even_speak_http_2(
        self, put: Callable[[str], None], certificates: Certificates, mode: Mode
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(200) as other, FaultServer(mode, redirect=other.url, tls=tls) as web:
            put(f"127.0.0.1:{web.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76
            assert (0, False) == (other.connections, web.saw("eyJhbGciOi"))


class TestConnections:
    @pytest.mark.parametrize("which", ["expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed"])
    def test_a_certificate_that_cannot_be_trusted(
        self, put: Callable[[str], None], certificates: Certificates, which: str
    ) -> None:
        pair: Pair = getattr(certificates, which)
        with FaultServer(500, tls=pair.context()) as other:
            put(f"127.0.0.1:{other.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76
            assert other.requests == []

    def test_our_own_authority_is_not_trusted_unasked(
        self, backend: SecretManager, server: GcpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ASTRO_TOKEN_CA_BUNDLE")
        assert (76, []) == (failure(backend, "gcp:p1/s").exit_code, server.seen)

    def test_grpcs_own_setting_is_enough(
        self, backend: SecretManager, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ASTRO_TOKEN_CA_BUNDLE")
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(certificates.ca_file))
        assert failure(backend, "gcp:p1/s").exit_code == 66

    @pytest.mark.parametrize(
        ("mode", "exit_code"), [("handshake-plain", 76), ("handshake-reset", 75), ("handshake-eof", 75)]
    )
    def test_what_is_no_tls(self, put: Callable[[str], None], mode: str, exit_code: int) -> None:
        with FaultServer(mode) as other:
            put(f"127.0.0.1:{other.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == exit_code

    def test_a_refused_connection(self, put: Callable[[str], None]) -> None:
        put(f"127.0.0.1:{refused_port()}")
        backend = open_backend("gcp")
        with within(0):
            failure(backend, "gcp:p1/s")
        assert failure(backend, "gcp:p1/s").exit_code == 75

    def test_an_unknown_host(self, put: Callable[[str], None]) -> None:
        put("gcp.invalid:443")
        assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 69

    @pytest.mark.parametrize(
        "kind", ["silent service", "silent host", "silent handshake", "firewall", "drip"]
    )
    def test_silence_costs_no_more_than_the_timeout(
        self,
        backend: SecretManager,
        server: GcpServer,
        put: Callable[[str], None],
        certificates: Certificates,
        kind: str,
    ) -> None:
        tls = certificates.server.context()
        slow: list[gcp_faults.Frame | str] = [headers(), message(b"a" * 1000), trailers(0)]
        with (
            BlackHole(connect=kind != "firewall") as hole,
            FaultServer("handshake-hang") as mute,
            Http2Server(slow, tls, drip=0.1) as dripping,
        ):
            places = {
                "silent host": f"127.0.0.1:{hole.port}",
                "firewall": f"127.0.0.1:{hole.port}",
                "silent handshake": f"127.0.0.1:{mute.port}",
                "drip": dripping.endpoint,
            }
            put(places.get(kind, server.endpoint))
            server.faults += [Fault(None), Fault(Code.OK, delay=60)]
            if kind == "silent service":
                failure(backend, "gcp:p1/nothing")  # the connection is there
            with within(0.8):
                assert failure(backend, "gcp:p1/s", timeout=0.8).exit_code == 75

    @pytest.mark.parametrize("small", [True, False])
    def test_a_proxy_is_honoured_in_capital_letters_too(
        self,
        server: GcpServer,
        key_file: Path,
        name: str,
        canary: str,
        monkeypatch: pytest.MonkeyPatch,
        small: bool,
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        monkeypatch.delenv("ASTRO_TOKEN_GCP_ENDPOINT")
        with ConnectProxy(routes={"secretmanager.googleapis.com": server.port}) as proxy:
            monkeypatch.setenv("https_proxy" if small else "HTTPS_PROXY", proxy.url)
            assert canary == read(open_backend("gcp"), f"gcp:p1/{name}").reveal().decode()
            assert proxy.targets == ["secretmanager.googleapis.com:443"]
            assert not proxy.saw(server.seen[-1].metadata["authorization"].partition(" ")[2])

    def test_hosts_without_a_proxy_are_honoured(
        self, put: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("gcp.invalid:443")
        with Egress() as egress:
            for variable, value in {**egress.proxies(), "NO_PROXY": ".invalid"}.items():
                monkeypatch.setenv(variable, value)
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 69
        assert egress.count == 0

    @pytest.mark.parametrize(("status", "exit_code"), [(407, 78), (403, 78), (502, 75)])
    def test_a_proxy_that_does_not_lead_there(
        self, put: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int
    ) -> None:
        put("secretmanager.googleapis.com:443")
        with ConnectProxy(status=status) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == exit_code
            assert set(proxy.targets) == {"secretmanager.googleapis.com:443"}
            assert not proxy.saw("eyJhbGciOi")

    def test_a_certificate_behind_a_proxy_is_checked(
        self, put: Callable[[str], None], certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("secretmanager.googleapis.com:443")
        with FaultServer(500, tls=certificates.expired.context()) as other:
            routes = {"secretmanager.googleapis.com": other.port}
            with ConnectProxy(routes=routes) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 76

    def test_keys_meet_the_same_faults(
        self, kms: KMS, put: Callable[[str], None], key: str, certificates: Certificates
    ) -> None:
        ref = SecretRef.parse(f"gcp-kms:{key}")

        def decrypt() -> object:
            return kms.decrypt(ref, b"x", timeout=5)

        found = []
        with FaultServer(500, tls=certificates.expired.context()) as expired:
            for place in (f"127.0.0.1:{refused_port()}", "gcp.invalid:443", f"127.0.0.1:{expired.port}"):
                put(place)
                found.append(failure_of(decrypt).exit_code)
        assert found == [75, 69, 76]


LOGIN_FAULTS: list[tuple[Mode, int]] = [
    (200, 76),  # an answer without a token
    (204, 76),
    (301, 76),
    (302, 76),
    (303, 76),
    (307, 76),
    (308, 76),
    (400, 77),
    (401, 77),
    (403, 77),
    (404, 77),
    (408, 75),
    (429, 75),
    (500, 75),
    (503, 75),
    ("reset", 75),
    ("close", 75),
    ("reset-head", 75),
    ("reset-body", 75),
    ("short-body", 75),
    ("cut-json", 76),
    ("empty", 76),
    ("html", 76),
    ("not-json", 76),
    ("json-array", 76),
    ("json-null", 76),
    ("json-int", 76),
    ("json-nested", 76),
    ("huge", 76),
    ("gzip-bomb", 76),
    ("hang", 75),
    ("drip-head", 75),
    ("drip-body", 75),
    ("handshake-plain", 76),
    ("handshake-reset", 75),
    ("handshake-eof", 75),
]


class TestLogins:
    """The exchange of the job's identity, and acting for a service account."""

    @pytest.fixture
    def job(
        self, gcp_login: GcpLogin, server: GcpServer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> str:
        """An identity, given in a variable; its token."""
        provider = gcp_login.trust(issuer, subject="job", accounts=("ci@p1.iam.gserviceaccount.com",))
        token = issuer.mint({"sub": "job", "aud": f"https:{provider}"})
        monkeypatch.setenv("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER", provider)
        monkeypatch.setenv("ASTRO_TOKEN_ID_TOKEN", token)
        monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", f"127.0.0.1:{gcp_login.port}")
        gcp_login.requests.clear()
        return token

    @pytest.mark.parametrize(
        ("service", "mode", "exit_code"),
        [("STS", *fault) for fault in LOGIN_FAULTS]
        + [
            ("IAM", *fault)
            for fault in LOGIN_FAULTS
            if fault[0] in {200, 307, 403, 500, "html", "hang", "huge"}
        ],
    )
    def test_a_fault_of_the_login(
        self,
        job: str,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        canary: str,
        service: str,
        mode: Mode,
        exit_code: int,
    ) -> None:
        body = b'{"error": "%s"}' % canary.encode()
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", "ci@p1.iam.gserviceaccount.com")
        tls = certificates.server.context()
        with (
            FaultServer(200) as other,
            FaultServer(mode, body, redirect=f"{other.url}/x", tls=tls, drip=0.1, size=64 << 20) as faulty,
        ):
            monkeypatch.setenv(f"ASTRO_TOKEN_GCP_{service}_ENDPOINT", f"127.0.0.1:{faulty.port}")
            seconds = 0.8 if mode in ("hang", "drip-head", "drip-body") else 10.0
            with within(0.8):
                error = failure(open_backend("gcp"), "gcp:p1/s", canary, job, timeout=seconds)
            assert exit_code == error.exit_code
            assert (0, True) == (other.connections, faulty.count <= 1)

    @pytest.mark.parametrize(
        ("mode", "exit_code"), [(400, 76), (401, 77), (403, 77), (404, 76), (405, 76), (418, 76)]
    )
    def test_a_refusal_that_is_not_googles(
        self, job: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, mode: int, exit_code: int
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(mode, b"<html>no</html>", content_type="text/html", tls=tls) as faulty:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", f"127.0.0.1:{faulty.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s", job).exit_code == exit_code

    def test_a_login_says_when_to_come_back(
        self, job: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tls = certificates.server.context()
        with FaultServer(503, headers={"Retry-After": "9"}, tls=tls) as busy:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", f"127.0.0.1:{busy.port}")
            error = failure(open_backend("gcp"), "gcp:p1/s")
        assert isinstance(error, BackendUnavailableError)
        assert error.retry_after == 9

    @pytest.mark.parametrize("which", ["expired", "wrong_host", "unknown_ca"])
    def test_an_identity_is_not_told_to_whom_cannot_be_trusted(
        self, job: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, which: str
    ) -> None:
        pair: Pair = getattr(certificates, which)
        with FaultServer(200, tls=pair.context()) as other:
            monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", f"127.0.0.1:{other.port}")
            assert failure(open_backend("gcp"), "gcp:p1/s", job).exit_code == 76
            assert other.requests == []

    @pytest.mark.parametrize(("place", "exit_code"), [("sts.invalid:443", 69), ("refused", 75)])
    def test_a_login_that_cannot_be_reached(
        self, job: str, monkeypatch: pytest.MonkeyPatch, place: str, exit_code: int
    ) -> None:
        place = f"127.0.0.1:{refused_port()}" if place == "refused" else place
        monkeypatch.setenv("ASTRO_TOKEN_GCP_STS_ENDPOINT", place)
        assert failure(open_backend("gcp"), "gcp:p1/s", job).exit_code == exit_code

    def test_no_netrc_and_no_proxy_for_loopback_get_at_it(
        self,
        job: str,
        gcp_login: GcpLogin,
        server: GcpServer,
        name: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", b"value")
        netrc = tmp_path / "home" / ".netrc"
        netrc.touch(0o600)
        netrc.write_text("default login somebody password something\n")
        with Egress() as egress:
            for variable, value in egress.proxies().items():
                monkeypatch.setenv(variable, value)
            read(open_backend("gcp"), f"gcp:p1/{name}")
        assert egress.count == 0
        assert "authorization" not in gcp_login.requests[-1].headers


class TestNothingLeaks:
    def test_by_loggers_and_debug_levels(
        self,
        backend: SecretManager,
        server: GcpServer,
        name: str,
        canary: str,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
        server.put(f"projects/p1/secrets/{name}", b"first")
        write(backend, f"gcp:p1/{name}", canary, "1")
        read(backend, f"gcp:p1/{name}")
        backend.describe(SecretRef.parse(f"gcp:p1/{name}"), timeout=5)
        failure(backend, "gcp:p1/nothing")
        bearer = server.seen[-1].metadata["authorization"].partition(" ")[2]
        shown = logged(caplog) + "".join(capfd.readouterr())
        assert [appearances(text, shown) for text in (canary, bearer)] == [[], []]

    def test_by_the_look_at_an_address_that_cannot_be_reached(
        self,
        put: Callable[[str], None],
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
        put("secretmanager.googleapis.com:443")
        with ConnectProxy(status=502) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:of-the-proxy@"))
            assert failure(open_backend("gcp"), "gcp:p1/s").exit_code == 75
            assert proxy.saw("user:of-the-proxy")
        shown = "".join(capfd.readouterr())
        assert [] == [line for line in shown.splitlines() if "CONNECT" in line or "Basic" in line]

    @pytest.mark.parametrize(
        ("registry", "trusted"),
        [(True, True), (False, False)]
        + [pytest.param(*both, marks=pytest.mark.long) for both in [(True, False), (False, True)]],
    )
    def test_by_the_sdks_own_variables(
        self,
        server: GcpServer,
        key_file: Path,
        name: str,
        canary: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        registry: bool,
        trusted: bool,
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
        # Without the registry too, which silences loggers: the backend itself must not let them be set up.
        module, made = "astro_token_backends.gcp.secret_manager", "SecretManager"
        script = READ.format(module=module, name=made, secret=name)
        if registry:
            script = script.replace(
                f"{made}()", "__import__('astro_token.secrets.registry').secrets.registry.open_backend('gcp')"
            )
        variables = {**LOUD, "SSLKEYLOGFILE": str(tmp_path / "keys.log")}
        bundle = os.environ["ASTRO_TOKEN_CA_BUNDLE"] if trusted else None
        done = in_a_process(script, **variables, ASTRO_TOKEN_CA_BUNDLE=bundle)
        assert (canary if trusted else "76") == done.stdout.strip()
        bearers = [call.metadata["authorization"].partition(" ")[2] for call in server.seen]
        assert [appearances(text, done.stderr) for text in (canary, *bearers)] == [[] for _ in (0, *bearers)]
        assert not (tmp_path / "keys.log").exists()

    def test_by_a_login_with_everything_on(
        self,
        gcp_login: GcpLogin,
        server: GcpServer,
        issuer: Issuer,
        name: str,
        canary: str,
        tmp_path: Path,
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        account = "ci@p1.iam.gserviceaccount.com"
        provider = gcp_login.trust(issuer, subject="job", accounts=(account,))
        token = issuer.mint({"sub": "job", "aud": f"https:{provider}"})
        gcp_login.requests.clear()
        done = in_a_process(
            READ.format(module="astro_token_backends.gcp.secret_manager", name="SecretManager", secret=name),
            **{**LOUD, "SSLKEYLOGFILE": str(tmp_path / "keys.log")},
            ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER=provider,
            ASTRO_TOKEN_GCP_SERVICE_ACCOUNT=account,
            ASTRO_TOKEN_ID_TOKEN=token,
            ASTRO_TOKEN_GCP_STS_ENDPOINT=f"127.0.0.1:{gcp_login.port}",
            ASTRO_TOKEN_GCP_IAM_ENDPOINT=f"127.0.0.1:{gcp_login.port}",
        )
        assert canary == done.stdout.strip()
        secrets = [canary, token, gcp_login.requests[-1].bearer]
        secrets.append(server.seen[-1].metadata["authorization"].partition(" ")[2])
        assert [appearances(text, done.stderr) for text in secrets] == [[], [], [], []]
        assert not (tmp_path / "keys.log").exists()
