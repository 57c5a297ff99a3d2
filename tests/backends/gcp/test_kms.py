"""Keys: what is encrypted is decrypted, by the same key and in the same context only."""

from __future__ import annotations

import base64
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from astro_token.errors import DecryptError, InvalidTokenError
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
from astro_token.testing import appearances
from astro_token_backends.gcp.kms import authenticated_data
from tests.backends.clouds import logged, read
from tests.backends.gcp.calls import failure_of
from tests.rows import each_row
from tests.servers.gcp import Code, Fault, GcpServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from astro_token_backends.gcp.kms import KMS
    from tests.conftest import Program
    from tests.servers.gcp_identity import ServiceAccount


def encrypt(kms: KMS, ref: str, text: str) -> bytes:
    ciphertext = kms.encrypt(SecretRef.parse(ref), SecretValue(text.encode()), timeout=10)
    assert isinstance(ciphertext, bytes)
    return ciphertext


def decrypt(kms: KMS, ref: str, ciphertext: bytes) -> str:
    return kms.decrypt(SecretRef.parse(ref), ciphertext, timeout=10).reveal().decode()


class TestRoundTrips:
    @pytest.mark.parametrize("context", ["", "?context.env=prod", "?context.env=prod&context.team=d%C3%A4ta"])
    def test_what_was_encrypted_is_decrypted(
        self, kms: KMS, server: GcpServer, key: str, canary: str, context: str
    ) -> None:
        ref = f"gcp-kms:{key}{context}"
        ciphertext = encrypt(kms, ref, canary)
        assert appearances(canary, ciphertext.decode("latin-1")) == []
        assert decrypt(kms, ref, ciphertext) == canary
        assert ["Encrypt", "Decrypt"] == [call.method for call in server.seen]

    def test_a_rotated_key_still_decrypts_what_is_old(
        self, kms: KMS, server: GcpServer, key: str, canary: str
    ) -> None:
        old = encrypt(kms, f"gcp-kms:{key}", canary)
        server.keys.rotate(key)
        assert [canary, canary] == [
            decrypt(kms, f"gcp-kms:{key}", ciphertext)
            for ciphertext in (old, encrypt(kms, f"gcp-kms:{key}", canary))
        ]

    def test_the_largest_value(self, kms: KMS, key: str) -> None:
        assert decrypt(kms, f"gcp-kms:{key}", encrypt(kms, f"gcp-kms:{key}", "a" * 65536)) == "a" * 65536

    @each_row(
        ("query", "data"),
        [
            ("", ""),
            ("?context.env=prod", '{"env":"prod"}'),
            ("?context.b=2&context.a=1", '{"a":"1","b":"2"}'),
            ('?context.a=d%C3%A4 "ta"', '{"a":"dä \\"ta\\""}'),
            ("?context.a%20b=c", '{"a b":"c"}'),
        ],
    )
    def test_a_context_becomes_authenticated_data_in_one_form(self, query: str, data: str) -> None:
        ref = SecretRef.parse(f"gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k{query}")
        assert data.encode() == authenticated_data(ref)

    def test_secrets_and_keys_share_the_connection(
        self, kms: KMS, server: GcpServer, key: str, canary: str, name: str
    ) -> None:
        server.put(f"projects/p1/secrets/{name}", encrypt(kms, f"gcp-kms:{key}", canary))
        ciphertext = read(open_backend("gcp"), f"gcp:p1/{name}").reveal()
        assert decrypt(kms, f"gcp-kms:{key}", ciphertext) == canary
        assert len({call.metadata["authorization"] for call in server.seen}) == 1


class TestRefusals:
    @pytest.mark.parametrize("other", ["", "?context.env=test", "?context.env=prod&context.team=data"])
    def test_another_context_does_not_decrypt(self, kms: KMS, key: str, canary: str, other: str) -> None:
        ciphertext = encrypt(kms, f"gcp-kms:{key}?context.env=prod", canary)
        error = failure_of(lambda: decrypt(kms, f"gcp-kms:{key}{other}", ciphertext), canary)
        assert (DecryptError, True) == (type(error), "context" in str(error.hint))

    def test_another_key_does_not_decrypt(self, kms: KMS, server: GcpServer, key: str, canary: str) -> None:
        ciphertext = encrypt(kms, f"gcp-kms:{key}", canary)
        other = server.keys.create(f"{key}-other")
        assert type(failure_of(lambda: decrypt(kms, f"gcp-kms:{other}", ciphertext))) is DecryptError

    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "base64"])
    def test_a_damaged_ciphertext_does_not_decrypt(
        self, kms: KMS, key: str, canary: str, damage: str
    ) -> None:
        good = encrypt(kms, f"gcp-kms:{key}", canary)
        ciphertext = {
            "flip": good[:-1] + bytes([good[-1] ^ 1]),
            "cut": good[:-5],
            "empty": b"",
            "text": b"nothing of this kind",
            "base64": base64.b64encode(good),
        }[damage]
        error = failure_of(lambda: decrypt(kms, f"gcp-kms:{key}", ciphertext), canary)
        assert type(error) is DecryptError

    @pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"])
    def test_a_version_that_is_out_of_use(
        self, kms: KMS, server: GcpServer, key: str, canary: str, state: str
    ) -> None:
        ciphertext = encrypt(kms, f"gcp-kms:{key}", canary)
        server.keys.set_state(key, 1, state)
        for call in (
            lambda: decrypt(kms, f"gcp-kms:{key}", ciphertext),
            lambda: encrypt(kms, f"gcp-kms:{key}", "text"),
        ):
            error = failure_of(call, canary)
            assert (66, True) == (error.exit_code, "disabled or destroyed" in error.message)

    def test_a_missing_key_comes_with_the_line_that_makes_it(self, kms: KMS) -> None:
        missing = "gcp-kms:projects/p1/locations/global/keyRings/r/cryptoKeys/nothing"
        for call in (lambda: decrypt(kms, missing, b"ciphertext"), lambda: encrypt(kms, missing, "text")):
            error = failure_of(call)
            line = "gcloud kms keys create nothing --keyring=r --location=global --project=p1"
            assert (66, True) == (error.exit_code, line in str(error.hint))

    def test_a_key_of_another_purpose(self, kms: KMS, server: GcpServer, key: str) -> None:
        signing = server.keys.create(f"{key}-sign", purpose="ASYMMETRIC_SIGN")
        assert failure_of(lambda: encrypt(kms, f"gcp-kms:{signing}", "text")).exit_code == 66

    @pytest.mark.parametrize(
        ("granted", "call", "missing"),
        [("useToEncrypt", "decrypt", "useToDecrypt"), ("useToDecrypt", "encrypt", "useToEncrypt")],
    )
    def test_a_denied_permission_is_named(  # each lacks the other's
        self,
        kms: KMS,
        server: GcpServer,
        account: ServiceAccount,
        key: str,
        granted: str,
        call: str,
        missing: str,
    ) -> None:
        ciphertext = encrypt(kms, f"gcp-kms:{key}", "text")
        server.restrict(account.email, f"cloudkms.cryptoKeyVersions.{granted}")
        calls: dict[str, Callable[[], object]] = {
            "decrypt": lambda: decrypt(kms, f"gcp-kms:{key}", ciphertext),
            "encrypt": lambda: encrypt(kms, f"gcp-kms:{key}", "text"),
        }
        error = failure_of(calls[call])
        assert (77, True) == (error.exit_code, f"cloudkms.cryptoKeyVersions.{missing} " in str(error.hint))

    @pytest.mark.parametrize("size", [0, 65537])
    def test_what_cannot_be_encrypted_is_not_sent(
        self, kms: KMS, server: GcpServer, key: str, size: int
    ) -> None:
        error = failure_of(lambda: encrypt(kms, f"gcp-kms:{key}", "a" * size))
        assert (InvalidTokenError, []) == (type(error), server.seen)


class TestDamage:
    @pytest.mark.parametrize("damage", ["plaintext", "checksum", "no-checksum"])
    def test_a_plaintext_that_is_not_what_was_sent(
        self, kms: KMS, server: GcpServer, key: str, canary: str, damage: str
    ) -> None:
        ciphertext = encrypt(kms, f"gcp-kms:{key}", canary)
        server.damage.append(damage)
        assert failure_of(lambda: decrypt(kms, f"gcp-kms:{key}", ciphertext), canary).exit_code == 76

    @pytest.mark.parametrize(
        "damage",
        ["ciphertext", "checksum", "no-checksum", "unverified", "unverified-context", "other-key", "empty"],
    )
    def test_a_ciphertext_that_could_not_be_decrypted(
        self, kms: KMS, server: GcpServer, key: str, canary: str, damage: str
    ) -> None:
        server.damage.append(damage)
        value = SecretValue(canary.encode())
        ref = SecretRef.parse(f"gcp-kms:{key}?context.a=b")
        assert failure_of(lambda: kms.encrypt(ref, value, timeout=10), canary).exit_code == 76

    def test_damage_on_the_way_there_is_no_fault_of_the_ciphertext(
        self, kms: KMS, server: GcpServer, key: str
    ) -> None:
        text = "The checksum in field ciphertext_crc32c did not match the data in field ciphertext."
        server.faults.append(Fault(Code.INVALID_ARGUMENT, text))
        assert failure_of(lambda: decrypt(kms, f"gcp-kms:{key}", b"\x0a\x24")).exit_code == 76

    @pytest.mark.parametrize(
        ("code", "exit_code"),
        [
            (Code.UNAVAILABLE, 75),
            (Code.RESOURCE_EXHAUSTED, 75),
            (Code.INTERNAL, 75),
            (Code.UNKNOWN, 76),
            (Code.INVALID_ARGUMENT, 65),
            (Code.FAILED_PRECONDITION, 66),
            (Code.UNAUTHENTICATED, 77),
        ],
    )
    def test_a_status_is_tried_once(
        self, kms: KMS, server: GcpServer, key: str, canary: str, code: Code, exit_code: int
    ) -> None:
        server.faults.append(Fault(code, canary))
        error = failure_of(lambda: decrypt(kms, f"gcp-kms:{key}", b"\x0a\x24"), canary)
        assert (exit_code, 1) == (error.exit_code, len(server.seen))


def sdk_client(kms: KMS) -> Any:
    """A client of the SDK on the channel of the backend."""
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    channel = next(iter(kms._connection._channels.values()))
    return KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=channel))


def test_the_service_knows_a_bad_checksum(kms: KMS, server: GcpServer, key: str) -> None:
    """What the tests above lean on: the server refuses what was damaged on the way."""
    import google_crc32c
    from google.api_core import exceptions

    assert encrypt(kms, f"gcp-kms:{key}", "x")
    client = sdk_client(kms)
    bearer = [("authorization", server.seen[-1].metadata["authorization"])]
    request = {"name": key, "plaintext": b"x", "plaintext_crc32c": google_crc32c.value(b"y")}
    with pytest.raises(exceptions.InvalidArgument, match="plaintext_crc32c"):
        client.encrypt(request=request, metadata=bearer, retry=None, timeout=5)
    request = {"name": key, "plaintext": b"x"}
    assert not client.encrypt(request=request, metadata=bearer, retry=None).verified_plaintext_crc32c


def test_nothing_is_logged_of_the_value(
    kms: KMS, server: GcpServer, key: str, canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert decrypt(kms, f"gcp-kms:{key}", encrypt(kms, f"gcp-kms:{key}", canary)) == canary
    bearer = server.seen[-1].metadata["authorization"].partition(" ")[2]
    assert [appearances(text, logged(caplog)) for text in (canary, bearer)] == [[], []]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_committed_file_is_decrypted_for_a_command(
    kms: KMS, program: Program, server: GcpServer, key_file: Path, key: str, canary: str, wrapped: bool
) -> None:
    ref = f"gcp-kms:{key}?context.env={quote('prod')}"
    ciphertext = encrypt(kms, ref, canary)
    file = program.work / "prod.token.kms"
    file.write_bytes(base64.encodebytes(ciphertext) if wrapped else ciphertext)
    file.chmod(0o600)
    environ = {
        "ASTRO_TOKEN_GCP_KMS_ENDPOINT": server.endpoint,
        "ASTRO_TOKEN_CA_BUNDLE": os.environ["ASTRO_TOKEN_CA_BUNDLE"],
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
    }
    command = ("sh", "-c", 'printf %s "$ASTRO_API_TOKEN"')
    done = program(
        "exec",
        "--no-isolate",
        f"file:{file.name}",
        "--decrypt",
        ref,
        "--",
        *command,
        env=environ,
        allowed=["stdout"],
    )
    assert (0, canary) == (done.code, done.stdout.strip())
