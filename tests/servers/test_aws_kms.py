"""The strict KMS of our own, by botocore: it does what is right, and refuses what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from tests.servers.aws_kms import AwsKms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHAT = {"what": "astro"}


@pytest.fixture
def kms() -> Iterator[AwsKms]:
    with AwsKms() as server:
        yield server


def client(kms: AwsKms, **changes: str) -> Any:
    environ = kms.environment()
    return botocore.session.Session().create_client(
        "kms",
        endpoint_url=kms.endpoint,
        region_name=changes.get("region", environ["AWS_REGION"]),
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=changes.get("secret", environ["AWS_SECRET_ACCESS_KEY"]),
    )


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as raised:
        call()
    return str(raised.value.response["Error"]["Code"])


def test_what_it_encrypts_it_decrypts_with_or_without_the_keys_name(kms: AwsKms) -> None:
    sdk, key = client(kms), kms.create_key()
    blob = sdk.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=WHAT)["CiphertextBlob"]
    assert b"x" == sdk.decrypt(CiphertextBlob=blob, EncryptionContext=WHAT)["Plaintext"]
    assert b"x" == sdk.decrypt(CiphertextBlob=blob, EncryptionContext=WHAT, KeyId=key)["Plaintext"]


def test_it_refuses_what_the_service_refuses(kms: AwsKms) -> None:
    sdk, key, other = client(kms), kms.create_key(), kms.create_key()
    blob = sdk.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=WHAT)["CiphertextBlob"]
    missing = "00000000-0000-0000-0000-000000000000"
    flipped = blob[:-1] + bytes([blob[-1] ^ 1])
    assert "IncorrectKeyException" == code(lambda: sdk.decrypt(CiphertextBlob=blob, KeyId=other))
    assert "InvalidCiphertextException" == code(lambda: sdk.decrypt(CiphertextBlob=blob, KeyId=key))
    assert "InvalidCiphertextException" == code(
        lambda: sdk.decrypt(CiphertextBlob=flipped, EncryptionContext=WHAT)
    )
    assert "InvalidCiphertextException" == code(lambda: sdk.decrypt(CiphertextBlob=b"nonsense"))
    assert "NotFoundException" == code(lambda: sdk.encrypt(KeyId=missing, Plaintext=b"x"))
    kms.disabled.add(key)
    assert "DisabledException" == code(lambda: sdk.encrypt(KeyId=key, Plaintext=b"x"))


@pytest.mark.parametrize("change", [{"secret": "wrong"}, {"region": "eu-west-3"}])
def test_it_checks_signatures(kms: AwsKms, change: dict[str, str]) -> None:
    sdk, key = client(kms, **change), kms.create_key()
    assert "InvalidSignatureException" == code(lambda: sdk.encrypt(KeyId=key, Plaintext=b"x"))
