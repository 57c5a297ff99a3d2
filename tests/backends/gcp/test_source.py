"""What is told of the login before it is made, and that making it beforehand spares the read's."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from astro_token_backends.gcp.client import Connection
from astro_token_backends.gcp.kms import KMS
from astro_token_backends.gcp.secret_manager import SecretManager
from tests.backends.clouds import in_a_process, logged, read, source_failure, told
from tests.backends.gcp.calls import failure_of
from tests.backends.gcp.test_login import (
    DEPLOYER,
    ci,
    external,
    login,
    oauth2,
    paths,
    present,
    provider,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.ci_identity import CiIdentity
    from tests.servers.faults import ConnectProxy
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin
    from tests.servers.jwks import Issuer

__all__ = ["ci", "login", "oauth2", "present", "provider", "use"]

KEY = "gcp-kms:projects/p1/locations/l/keyRings/r/cryptoKeys/k"
# Prints the source, how often it was logged, and what was read.
IN_A_PROCESS = """
import logging
logging.basicConfig(level=0, format="%(message)s")
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
backend, ref = open_backend("gcp"), SecretRef.parse("gcp:p1/{name}")
print(backend.credential_source(ref, timeout=10))
backend.log_in(ref, timeout=10)
print(backend.read(ref, timeout=10).reveal().decode())
"""


def source(backend: Any, ref: str) -> str:
    text = backend.credential_source(SecretRef.parse(ref), timeout=10.0)
    assert isinstance(text, str)
    return text


class TestRequests:
    def test_a_job_logs_in_once_for_doctor_and_the_read(
        self,
        ci: CiIdentity,
        login: GcpLogin,
        provider: str,
        server: GcpServer,
        present: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        backend = open_backend("gcp")
        words = (
            "the identity of GitHub Actions, with "
            f"{provider.removeprefix('https://iam.googleapis.com/')} "
            "(ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER)"
        )
        assert words == source(backend, present)
        assert ([], 1) == (paths(login), len(ci.requests))
        assert (f"https://{server.endpoint}", words) == told(backend, present)
        assert (["/v1/token"], 1, []) == (paths(login), len(ci.requests), server.seen)
        read(backend, present)
        assert (f"https://{server.endpoint}", words) == told(open_backend("gcp-kms"), KEY)
        assert (["/v1/token"], 1, 1) == (paths(login), len(ci.requests), len(server.seen))
        lines = [line for line in logged(caplog).splitlines() if line.startswith("logging in to Google")]
        assert 1 == len(lines)
        assert words in lines[0]
        assert not any(appearances(token, logged(caplog)) for token in ci.issued)

    def test_a_key_signs_for_itself(self, login: GcpLogin, key_file: Path, present: str) -> None:
        backend = open_backend("gcp")
        expected = f"a service account's key in {key_file} (GOOGLE_APPLICATION_CREDENTIALS)"
        assert expected == told(backend, present)[1]
        read(backend, present)
        assert [] == paths(login)

    @pytest.mark.parametrize("acting", [True, False])
    def test_a_machine_is_asked_once(
        self, login: GcpLogin, server: GcpServer, name: str, present: str, canary: str, acting: bool
    ) -> None:
        login.allow(login.machine_account, DEPLOYER)
        variables = {"GCE_METADATA_HOST": login.metadata_host, "GCE_METADATA_IP": login.metadata_host}
        variables |= {"ASTRO_TOKEN_GCP_SERVICE_ACCOUNT": DEPLOYER} if acting else {}
        variables["GOOGLE_CLOUD_QUOTA_PROJECT"] = "p3"
        done = in_a_process(IN_A_PROCESS.format(name=name), NO_GCE_CHECK=None, **variables)
        expected = "the metadata server's service account"
        if acting:
            expected += f", acting as {DEPLOYER} (ASTRO_TOKEN_GCP_SERVICE_ACCOUNT)"
        assert [expected, canary] == done.stdout.splitlines()
        assert 1 == done.stderr.count(f"logging in to Google Cloud with {expected}\n")
        assert (2, int(acting)) == (len(login.metadata_requests), len(login.requests))
        assert "p3" == server.seen[-1].metadata["x-goog-user-project"]

    def test_acting_as_an_account_that_is_refused_shows_in_the_login(
        self, login: GcpLogin, key_file: Path, present: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_SERVICE_ACCOUNT", "nobody@p1.iam.gserviceaccount.com")
        backend: Any = open_backend("gcp")
        assert "acting as nobody@p1.iam.gserviceaccount.com" in source(backend, present)
        assert [] == paths(login)
        error = failure_of(lambda: backend.log_in(SecretRef.parse(present), timeout=10))
        assert 77 == error.exit_code
        assert "iam.serviceAccounts.getAccessToken" in str(error.hint)

    def test_what_is_given_brings_its_own(self, server: GcpServer, account: ServiceAccount) -> None:
        class Given:
            valid = True

        backend = SecretManager(connection=Connection(credential=Given()))
        assert "the injected credential" == source(backend, "gcp:p1/a")
        injected: list[Any] = [SecretManager(client=object()), KMS(client=object())]
        for made, ref in zip(injected, ("gcp:p1/a", KEY), strict=True):
            assert (f"https://{server.endpoint}", "the injected client") == told(made, ref)


class TestSources:
    def test_the_file_that_gcloud_leaves(
        self, oauth2: ConnectProxy, login: GcpLogin, present: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / "home" / ".config" / "gcloud"
        folder.mkdir(parents=True)
        file = folder / "application_default_credentials.json"
        file.write_text(json.dumps(login.user()))
        backend = open_backend("gcp")
        expected = f"a user's login in {file} (gcloud auth application-default login)"
        assert expected == told(backend, present)[1]
        read(backend, present)
        assert ["/token"] == paths(login)

    def test_an_external_account(
        self, login: GcpLogin, issuer: Issuer, use: Callable[[object], None], tmp_path: Path
    ) -> None:
        use(external(login.trust(issuer, subject="job"), {"file": str(tmp_path / "identity")}))
        expected = f"an external account in {tmp_path}/adc.json (GOOGLE_APPLICATION_CREDENTIALS)"
        assert expected == source(open_backend("gcp"), "gcp:p1/a")
        assert [] == paths(login)

    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent"},
            {
                "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/"
                "workloadIdentityPools/p/providers/q",
                "GITHUB_ACTIONS": "true",
            },
        ],
    )
    def test_without_a_credential_the_error_is_that_of_the_read(
        self, server: GcpServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        error = source_failure(open_backend("gcp"), "gcp:p1/a")
        assert 77 == error.exit_code
        assert "id-token: write" in str(error.hint) or "GITHUB_ACTIONS" not in environ


class TestAddress:
    def test_it_is_googles_own_or_that_of_the_location(self) -> None:
        backend: Any = open_backend("gcp")
        secret = "projects/p1/{}secrets/a"
        found = [
            backend.route(SecretRef.parse(f"gcp:{secret.format(place)}")).address.origin
            for place in ("", "locations/europe-west1/")
        ]
        assert ["", "europe-west1."] == [
            address.removeprefix("https://secretmanager.").removesuffix("googleapis.com").replace("rep.", "")
            for address in found
        ]
        assert (
            "https://cloudkms.googleapis.com"
            == open_backend("gcp-kms").route(SecretRef.parse(KEY)).address.origin
        )

    @pytest.mark.parametrize("given", ["https://private.example", "private.example", "a b:443"])
    def test_one_that_is_refused(self, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASTRO_TOKEN_GCP_ENDPOINT", given)
        backend: Any = open_backend("gcp")
        assert 78 == failure_of(lambda: backend.route(SecretRef.parse("gcp:p1/a"))).exit_code
