"""
Keys of KMS.

MiniStack's ciphertexts are not authenticated: what damage does to one is tried with moto, whose are.
Neither refuses the ciphertext of another key as the service does: moto calls that a denial.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AccessDeniedError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secrets.ciphertext import decode_ciphertext, encode_ciphertext
from astro_token.secrets.protocols import Backend, SupportsClose, SupportsDecrypt, SupportsEncrypt
from astro_token.secrets.registry import open_backend
from astro_token_backends.aws.kms import KMS
from tests.backends.aws.service import SECONDS, allow, client, error_of, keys, new_session, ref, secret
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer
from tests.servers.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token.secret import SecretValue
    from astro_token_backends.aws.client import Session
    from tests.servers.ministack import MiniStack


@pytest.fixture(scope="module")
def admin(ministack: MiniStack) -> Any:
    return client(ministack, "kms")


@pytest.fixture(scope="module")
def key(admin: Any) -> dict[str, str]:
    """One key by all of its names."""
    about = admin.create_key()["KeyMetadata"]
    alias = f"alias/astro-{uuid.uuid4().hex}"
    admin.create_alias(AliasName=alias, TargetKeyId=about["KeyId"])
    return {
        "id": about["KeyId"],
        "arn": about["Arn"],
        "alias": alias,
        "alias arn": about["Arn"].replace(f"key/{about['KeyId']}", alias),
    }


@pytest.fixture
def kms(session: Session) -> KMS:
    return KMS(session=session)


def decrypt(kms: KMS, text: str, ciphertext: bytes) -> SecretValue:
    return kms.decrypt(ref(text), ciphertext, timeout=SECONDS)


def encrypt(kms: KMS, text: str, value: str | bytes) -> bytes:
    return kms.encrypt(ref(text), secret(value), timeout=SECONDS)


def test_it_is_a_key_service_and_no_backend(environment: MiniStack) -> None:
    kms = open_backend("aws-kms")
    assert isinstance(kms, KMS)
    assert isinstance(kms, SupportsDecrypt)
    assert isinstance(kms, SupportsEncrypt)
    assert isinstance(kms, SupportsClose)
    assert not isinstance(kms, Backend)


@pytest.mark.parametrize("name", ["id", "arn", "alias", "alias arn"])
def test_a_key_can_be_named_in_all_its_ways(kms: KMS, key: dict[str, str], name: str) -> None:
    ciphertext = encrypt(kms, f"aws-kms:{key[name]}", "value")
    assert decrypt(kms, f"aws-kms:{key['id']}", ciphertext) == secret("value")
    assert decrypt(kms, f"aws-kms:{key[name]}", ciphertext) == secret("value")


@pytest.mark.parametrize("value", [b"x", bytes(range(256)), "naïve ✓\n".encode(), b"a" * 4096])
def test_what_was_encrypted_is_decrypted(kms: KMS, key: dict[str, str], value: bytes) -> None:
    ciphertext = encrypt(kms, f"aws-kms:{key['id']}", value)
    assert decrypt(kms, f"aws-kms:{key['id']}", decode_ciphertext(encode_ciphertext(ciphertext))) == secret(
        value
    )


def test_it_reads_what_others_encrypted_and_they_read_what_it_did(
    kms: KMS, admin: Any, key: dict[str, str]
) -> None:
    context = {"team": "dags", "stage": "prod"}
    place = f"aws-kms:{key['alias']}?context.team=dags&context.stage=prod"
    theirs = admin.encrypt(KeyId=key["id"], Plaintext=b"theirs", EncryptionContext=context)
    assert decrypt(kms, place, theirs["CiphertextBlob"]) == secret("theirs")
    ours = admin.decrypt(CiphertextBlob=encrypt(kms, place, "ours"), EncryptionContext=context)
    assert ours["Plaintext"] == b"ours"


@pytest.mark.parametrize(
    "context", ["", "?context.team=other", "?context.Team=dags", "?context.team=dags&context.a=b"]
)
def test_another_context_does_not_decrypt(kms: KMS, key: dict[str, str], context: str, canary: str) -> None:
    ciphertext = encrypt(kms, f"aws-kms:{key['id']}?context.team=dags", canary)
    error = error_of(lambda: decrypt(kms, f"aws-kms:{key['id']}{context}", ciphertext), canary)
    assert type(error) is DecryptError


def test_the_key_goes_along_when_we_decrypt(
    environment: MiniStack, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire(environment.endpoint) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", wire.url)
        kms = KMS(session=new_session())
        decrypt(kms, f"aws-kms:{key['alias']}", encrypt(kms, f"aws-kms:{key['alias']}", "value"))
        asked = [json.loads(request.body) for request in wire.requests]
    assert [one["KeyId"] for one in asked] == [key["alias"], key["alias"]]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("IncorrectKeyException", DecryptError),
        ("InvalidCiphertextException", DecryptError),
        ("NotFoundException", SecretNotFoundError),
        ("DisabledException", UnusableSecretError),
        ("KMSInvalidStateException", UnusableSecretError),
    ],
)
def test_a_refusal_by_its_name(
    environment: MiniStack, code: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(lambda _: Answer.json({"__type": code}, 400)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert type(error_of(lambda: decrypt(KMS(session=new_session()), "aws-kms:alias/a", b"x"))) is kind


@pytest.mark.parametrize("ciphertext", [b"", b"x" * 7000])
def test_what_cannot_be_a_ciphertext_is_not_sent(environment: MiniStack, ciphertext: bytes) -> None:
    error = error_of(lambda: decrypt(KMS(session=new_session()), "aws-kms:alias/a", ciphertext))
    assert type(error) is DecryptError


@pytest.mark.parametrize("size", [0, 4097])
def test_what_kms_does_not_encrypt_is_not_sent(environment: MiniStack, size: int) -> None:
    error = error_of(lambda: encrypt(KMS(session=new_session()), "aws-kms:alias/a", b"x" * size))
    assert type(error) is InvalidTokenError


def test_a_missing_key_is_not_found(kms: KMS) -> None:
    for name in (str(uuid.uuid4()), "alias/none"):
        assert type(error_of(lambda: encrypt(kms, f"aws-kms:{name}", "x"))) is SecretNotFoundError  # noqa: B023


def test_a_disabled_key_and_one_that_waits_for_its_deletion_cannot_be_used(kms: KMS, admin: Any) -> None:
    key = admin.create_key()["KeyMetadata"]["KeyId"]
    ciphertext = encrypt(kms, f"aws-kms:{key}", "x")
    admin.disable_key(KeyId=key)
    assert type(error_of(lambda: decrypt(kms, f"aws-kms:{key}", ciphertext))) is UnusableSecretError
    admin.enable_key(KeyId=key)
    assert decrypt(kms, f"aws-kms:{key}", ciphertext) == secret("x")
    admin.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert type(error_of(lambda: decrypt(kms, f"aws-kms:{key}", ciphertext))) is UnusableSecretError


def test_a_denial_names_the_permission_and_that_one_is_enough(
    environment: MiniStack, key: dict[str, str], monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    place = f"aws-kms:{key['id']}"

    def as_one_who_may(action: str) -> KMS:
        for name, value in keys(environment, allow(action, on=key["arn"])).items():
            monkeypatch.setenv(name, value)
        return KMS(session=new_session())

    encrypter = as_one_who_may("kms:Encrypt")
    ciphertext = encrypt(encrypter, place, canary)
    error = error_of(lambda: decrypt(encrypter, place, ciphertext), canary)
    assert type(error) is AccessDeniedError
    assert "kms:Decrypt" in str(error.hint)
    decrypter = as_one_who_may("kms:Decrypt")
    assert decrypt(decrypter, place, ciphertext) == secret(canary)
    error = error_of(lambda: encrypt(decrypter, place, "x"))
    assert type(error) is AccessDeniedError
    assert "kms:Encrypt" in str(error.hint)


@pytest.mark.parametrize(
    "answer", [{}, {"Plaintext": None, "CiphertextBlob": None}, {"Plaintext": 7, "CiphertextBlob": 7}]
)
def test_an_answer_without_what_it_must_have(
    environment: MiniStack, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(lambda _: Answer.json(answer)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        kms = KMS(session=new_session())
        assert error_of(lambda: decrypt(kms, "aws-kms:alias/a", b"x")).exit_code == 76
        assert error_of(lambda: encrypt(kms, "aws-kms:alias/a", b"x")).exit_code == 76


class TestAuthenticatedCiphertexts:
    @pytest.fixture
    def keys(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        import botocore.session
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        sdk = botocore.session.Session().create_client("kms", region_name="eu-west-1")
        yield [f"aws-kms:{sdk.create_key()['KeyMetadata']['KeyId']}" for _ in range(2)]
        server.stop()

    def test_a_flipped_byte_a_cut_and_another_key_are_refused(self, keys: list[str], canary: str) -> None:
        kms = KMS(session=new_session())
        ciphertext = encrypt(kms, f"{keys[0]}?context.a=b", canary)
        assert decrypt(kms, f"{keys[0]}?context.a=b", ciphertext) == secret(canary)
        flipped = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
        for damaged in (flipped, ciphertext[:-1]):
            error = error_of(lambda: decrypt(kms, f"{keys[0]}?context.a=b", damaged), canary)  # noqa: B023
            assert type(error) is DecryptError
        error = error_of(lambda: decrypt(kms, keys[0], ciphertext), canary)
        assert type(error) is DecryptError
        error = error_of(lambda: decrypt(kms, f"{keys[1]}?context.a=b", ciphertext), canary)
        assert error.exit_code in {65, 77}
