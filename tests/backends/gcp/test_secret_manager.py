"""Secrets: read, described, written; and what the service refuses."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    BackendUnavailableError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import BackendContract, Harness, appearances
from astro_token_backends.gcp.secret_manager import SecretManager, _version
from tests.backends.clouds import logged, modules_after, read
from tests.backends.gcp.calls import failure, failure_of, meeting, write
from tests.servers.gcp import Code, Fault, GcpServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.certificates import Certificates
    from tests.servers.gcp_identity import ServiceAccount


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: SecretManager, server: GcpServer, name: str) -> Harness:
        def store(data: bytes) -> None:
            server.put(f"projects/p1/secrets/{name}", data)

        # A secret without a version, as gcloud makes one: that is where a first version is written.
        empty = f"projects/p1/secrets/e-{uuid.uuid4().hex}"
        server.create(empty)
        return Harness(
            backend,
            store,
            present=f"gcp:p1/{name}",
            missing="gcp:p1/nothing",
            writable=f"gcp:{empty}",
            denied=lambda: meeting(server, Fault(Code.PERMISSION_DENIED)),
            unavailable=lambda: meeting(server, Fault(Code.UNAVAILABLE)),
            silent=lambda: meeting(server, Fault(None, delay=3.0)),
        )


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
        assert host == f"{_version(SecretRef.parse(ref)).host}:443"

    def test_a_client_of_the_sdk_can_be_injected(
        self, server: GcpServer, certificates: Certificates, name: str
    ) -> None:
        import grpc
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient
        from google.cloud.secretmanager_v1.services.secret_manager_service import transports

        server.put(f"projects/p1/secrets/{name}", b"value")
        bearer = grpc.access_token_call_credentials(server.identities.issue("me@example.com"))
        tls = grpc.ssl_channel_credentials(certificates.ca_file.read_bytes())
        channel = grpc.secure_channel(server.endpoint, grpc.composite_channel_credentials(tls, bearer))
        made: Any = SecretManagerServiceClient
        client = made(transport=transports.SecretManagerServiceGrpcTransport(channel=channel))
        backend = SecretManager(client=client)
        assert read(backend, f"gcp:p1/{name}").reveal() == b"value"
        assert failure(backend, "gcp:p1/nothing").exit_code == 66
        assert (
            backend.write(
                SecretRef.parse(f"gcp:p1/{name}"), SecretValue(b"new"), expected_version="1", timeout=5
            )
            == "2"
        )


class TestRefusals:
    @pytest.mark.parametrize("option", ["version=9", "version=alias"])
    def test_a_version_that_is_not_there(
        self, backend: SecretManager, server: GcpServer, name: str, option: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        assert failure(backend, f"gcp:p1/{name}?{option}", canary).exit_code == 66

    @pytest.mark.parametrize(
        ("state", "mend"),
        [("DISABLED", "gcloud secrets versions enable NUMBER --secret="), ("DESTROYED", "write a new one")],
    )
    def test_a_version_that_is_out_of_use(
        self, backend: SecretManager, server: GcpServer, name: str, state: str, mend: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.set_state(full, server.put(full, canary.encode()), state)
        error = failure(backend, f"gcp:p1/{name}", canary)
        assert (66, f"the version is {state.lower()}") == (error.exit_code, error.message)
        assert type(error) is UnusableSecretError
        assert mend in str(error.hint)

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_a_key_that_is_out_of_use_is_told_from_a_version_that_is(
        self, backend: SecretManager, server: GcpServer, name: str, state: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, canary.encode())
        server.set_key_state(full, state)
        errors = [
            failure(backend, f"gcp:{full}", canary),
            *(failure_of(partial(write, backend, f"gcp:{full}", "new", old)) for old in (None, "0")),
        ]
        assert len({(error.exit_code, error.message, error.hint) for error in errors}) == 1
        assert (66, True) == (errors[0].exit_code, "the key of Cloud KMS" in errors[0].message)
        assert f"gcloud secrets describe {name} --project=p1" in str(errors[0].hint)
        server.set_key_state(full, "ENABLED")
        assert read(backend, f"gcp:{full}").reveal() == canary.encode()

    @pytest.mark.parametrize(
        ("place", "flags"),
        [
            ("projects/p1", "--replication-policy=automatic --project=p1"),
            ("projects/p1/locations/europe-west3", "--project=p1 --location=europe-west3"),
        ],
    )
    def test_a_missing_secret_comes_with_the_line_that_makes_it(
        self, backend: SecretManager, place: str, flags: str
    ) -> None:
        error = failure(backend, f"gcp:{place}/secrets/astro")
        assert error.exit_code == 66
        assert f"gcloud secrets create astro {flags}" in str(error.hint)

    def test_a_secret_that_has_expired_is_deleted(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.expire(f"projects/p1/secrets/{name}", datetime.now(UTC) - timedelta(seconds=1))
        error = failure(backend, f"gcp:p1/{name}", canary)
        assert (66, True) == (error.exit_code, "expires" in error.message)

    @pytest.mark.parametrize(
        ("reason", "hint"),
        [
            ("SERVICE_DISABLED", "gcloud services enable secretmanager.googleapis.com --project=p1"),
            ("CONSUMER_INVALID", "check p1"),
            ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "cloud-platform"),
            ("SOMETHING_NEW", "secretmanager.versions.access"),
            (None, "check that the project p1 is right"),
        ],
    )
    def test_a_denial_is_told_by_its_reason(
        self, backend: SecretManager, server: GcpServer, canary: str, reason: str | None, hint: str
    ) -> None:
        server.faults.append(Fault(Code.PERMISSION_DENIED, canary, reason=reason))
        error = failure(backend, "gcp:p1/s", canary)
        assert (77, True) == (error.exit_code, hint in str(error.hint))

    def test_a_denied_permission_is_named(
        self, backend: SecretManager, server: GcpServer, account: ServiceAccount, name: str, canary: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", canary.encode())
        server.restrict(account.email, "versions.get")
        error = failure(backend, f"gcp:p1/{name}", canary)
        assert error.exit_code == 77
        assert "secretmanager.versions.access" in str(error.hint)

    @pytest.mark.parametrize(
        ("granted", "call", "missing"),
        [
            ("versions.get", "describe", "secretmanager.secrets.get"),
            ("secrets.get", "describe", "secretmanager.versions.get"),
            ("versions.access", "write", "secretmanager.versions.add"),
            ("versions.add", "write", "secretmanager.versions.access"),
            ("versions.access", "check_write", "secretmanager.versions.add"),
        ],
    )
    def test_each_call_names_the_permission_that_it_lacks(
        self,
        backend: SecretManager,
        server: GcpServer,
        account: ServiceAccount,
        name: str,
        granted: str,
        call: str,
        missing: str,
    ) -> None:
        version = server.put(f"projects/p1/secrets/{name}", b"value")
        server.restrict(account.email, granted)
        ref = SecretRef.parse(f"gcp:p1/{name}")
        calls: dict[str, Callable[[], object]] = {
            "describe": lambda: backend.describe(ref, timeout=10),
            "write": lambda: write(backend, str(ref), "new", version),
            "check_write": lambda: backend.check_write(ref, timeout=10),
        }
        error = failure_of(calls[call])
        assert (77, True) == (error.exit_code, missing in str(error.hint))

    def test_only_a_definite_denial_of_a_write_is_reported_before_it(
        self, backend: SecretManager, server: GcpServer, account: ServiceAccount, name: str
    ) -> None:
        ref = SecretRef.parse(f"gcp:p1/{name}")
        backend.check_write(ref, timeout=10)  # it does not exist
        server.put(f"projects/p1/secrets/{name}", b"value")
        for granted in ("versions.add", "secrets.get"):
            server.restrict(account.email, granted)
            backend.check_write(ref, timeout=10)


class TestDescribing:
    def test_all_but_the_value_is_told(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, canary.encode())
        server.put(full, canary.encode())
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        server.expire(full, expires)
        server.label(full, team="data")
        metadata = backend.describe(SecretRef.parse(f"gcp:{full}"), timeout=10)
        assert metadata.created is not None
        assert metadata.updated is not None
        assert metadata.created <= metadata.updated <= datetime.now(UTC)
        assert SecretMetadata("2", metadata.created, metadata.updated, expires, True, {"team": "data"}) == (
            metadata
        )
        assert [type(when) for when in (metadata.created, metadata.expires)] == [datetime, datetime]
        assert ["GetSecretVersion", "GetSecret"] == [call.method for call in server.seen]
        assert appearances(canary, repr(metadata)) == []

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_a_version_that_is_out_of_use_is_told_from_others(
        self, backend: SecretManager, server: GcpServer, name: str, state: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, b"first")
        server.set_state(full, server.put(full, b"second"), state)
        told = [
            backend.describe(SecretRef.parse(f"gcp:{full}{version}"), timeout=10)
            for version in ("", "?version=1")
        ]
        assert [("2", False), ("1", True)] == [(one.version, one.enabled) for one in told]

    def test_what_is_missing_is_not_found(self, backend: SecretManager) -> None:
        error = failure_of(lambda: backend.describe(SecretRef.parse("gcp:p1/nothing"), timeout=10))
        assert type(error) is SecretNotFoundError


class TestWriting:
    def test_a_version_is_added_in_one_request_with_its_checksum(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, b"first")
        assert write(backend, f"gcp:{full}", canary) == "2"
        assert ["AddSecretVersion"] == [call.method for call in server.seen]
        assert read(backend, f"gcp:{full}").reveal() == canary.encode()

    def test_an_expected_version_is_looked_at_right_before(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, b"first")
        assert write(backend, f"gcp:{full}", canary, "1") == "2"
        assert ["AccessSecretVersion", "AddSecretVersion"] == [call.method for call in server.seen]
        for stale in ("1", "0", "3", "first"):
            error = failure_of(partial(write, backend, f"gcp:{full}", "new", stale), canary)
            assert type(error) is BackendUnavailableError
        assert read(backend, f"gcp:{full}").version == "2"

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
    def test_what_cannot_be_read_is_followed_as_if_it_were_not_there(
        self, backend: SecretManager, server: GcpServer, name: str, state: str
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.set_state(full, server.put(full, b"first"), state)
        assert write(backend, f"gcp:{full}", "new", "0") == "2"

    def test_a_version_that_comes_in_between_is_told_of(
        self, backend: SecretManager, server: GcpServer, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        full = f"projects/p1/secrets/{name}"
        server.put(full, b"first")
        server.before["AddSecretVersion"] = lambda: server.put(full, b"theirs")
        caplog.set_level(logging.WARNING)
        assert write(backend, f"gcp:{full}", "ours", "1") == "3"
        assert [f"{full}: someone else added version 2 right before ours; 3 is the latest now"] == (
            caplog.messages
        )
        assert [b"theirs", b"ours"] == [
            read(backend, f"gcp:{full}{version}").reveal() for version in ("?version=2", "")
        ]

    @pytest.mark.parametrize("expected", [None, "0"])
    def test_a_missing_secret_is_not_made(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str, expected: str | None
    ) -> None:
        error = failure_of(lambda: write(backend, f"gcp:p1/{name}", canary, expected))
        assert (66, True) == (error.exit_code, f"gcloud secrets create {name} " in str(error.hint))
        assert appearances(canary, error.message + str(error.hint)) == []
        assert failure(backend, f"gcp:p1/{name}").exit_code == 66

    @pytest.mark.parametrize("size", [0, 65537])
    def test_what_the_service_does_not_keep_is_not_sent(
        self, backend: SecretManager, server: GcpServer, name: str, size: int
    ) -> None:
        server.create(f"projects/p1/secrets/{name}")
        assert type(failure_of(lambda: write(backend, f"gcp:p1/{name}", "a" * size))) is InvalidTokenError
        assert server.seen == []
        assert write(backend, f"gcp:p1/{name}", "a" * 65536) == "1"

    def test_a_service_that_did_not_look_at_the_checksum_is_not_believed(
        self, backend: SecretManager, server: GcpServer, name: str, canary: str
    ) -> None:
        server.create(f"projects/p1/secrets/{name}")
        server.damage.append("unchecked")
        value = SecretValue(canary.encode())
        ref = SecretRef.parse(f"gcp:p1/{name}")
        error = failure_of(lambda: backend.write(ref, value, expected_version=None, timeout=10), canary)
        assert error.exit_code == 76

    @pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED])
    def test_a_failure_is_not_tried_again(
        self, backend: SecretManager, server: GcpServer, name: str, code: object
    ) -> None:
        server.create(f"projects/p1/secrets/{name}")
        server.faults.append(Fault(code))
        assert failure_of(lambda: write(backend, f"gcp:p1/{name}", "new")).exit_code == 75
        assert len(server.seen) == 1


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


def test_importing_the_module_loads_no_sdk() -> None:
    for module in ("secret_manager", "kms", "credential_chain", "login", "login_request", "client"):
        assert {"grpc", "google.auth", "google.cloud", "requests"} & modules_after(
            f"import astro_token_backends.gcp.{module}"
        ) == set()


def test_the_command_line_loads_messages_without_the_sdks_clients(
    server: GcpServer, key_file: Path, key: str
) -> None:
    loaded = modules_after(
        "from astro_token.system.sdk_imports import allow_placeholders\n"
        "allow_placeholders()\n"
        "from astro_token.secrets.ref import SecretRef\n"
        "from astro_token.secrets.registry import open_backend\n"
        f"value = open_backend('gcp-kms').encrypt(SecretRef.parse('gcp-kms:{key}'), "
        "__import__('astro_token.secret').secret.SecretValue(b'x'), timeout=5)\n"
        "open_backend('gcp')"
    )
    assert {"google.cloud.secretmanager_v1.types.service", "google.cloud.kms_v1.types.service"} <= loaded
    replaced = {
        "cryptography.x509",
        "google.api_core",
        "google.auth.iam",
        "google.cloud.kms_v1",
        "google.cloud.secretmanager_v1",
        "grpc.aio",
        "requests",
    }
    assert replaced & loaded == set()
