"""Keys of AWS KMS: `aws-kms:KEY`, with botocore, the core of boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token.errors import DecryptError, InvalidTokenError, result
from astro_token.secret import SecretValue
from astro_token_backends.aws.client import AwsService
from astro_token_backends.aws.errors import damaged

if TYPE_CHECKING:
    from astro_token.errors import AstroTokenError
    from astro_token.secrets.ref import SecretRef

__all__ = ["KMS"]

_LONGEST_PLAINTEXT = 4096
_LONGEST_CIPHERTEXT = 6144
_CONTEXT = "context."


class KMS(AwsService):
    """
    Decrypt and encrypt with a symmetric key of AWS KMS.

    Reference: `aws-kms:KEY[?region=R&context.NAME=VALUE…]`, where KEY is an id, `alias/NAME` or an ARN.
    The context is authenticated: a ciphertext is decrypted with the same context only.
    The request names the key, so that a ciphertext of another key is refused.

    Credentials: those of `aws`.

    Permissions on the key: `kms:Decrypt`; to encrypt `kms:Encrypt`.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.
    """

    _service = "kms"

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        if not 0 < len(ciphertext) <= _LONGEST_CIPHERTEXT:
            raise DecryptError(
                "the value to decrypt is not a ciphertext of KMS", hint="check that it is complete, in base64"
            )
        return self._within(
            timeout,
            lambda until: result(
                _plaintext(self._with_key(ref, "decrypt", until, CiphertextBlob=ciphertext))
            ),
        )

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        if not 0 < len(value.reveal()) <= _LONGEST_PLAINTEXT:
            raise InvalidTokenError(
                f"KMS encrypts 1 to {_LONGEST_PLAINTEXT} bytes, and the value is empty or longer",
                hint="encrypt the token alone, without the text around it",
            )
        return self._within(
            timeout,
            lambda until: _ciphertext(self._with_key(ref, "encrypt", until, Plaintext=value.reveal())),
        )

    def _with_key(self, ref: SecretRef, operation: str, until: float, **arguments: Any) -> Any:
        context = {
            name.removeprefix(_CONTEXT): value
            for name, value in ref.options.items()
            if name.startswith(_CONTEXT)
        }
        optional: dict[str, Any] = {"EncryptionContext": context} if context else {}
        return self._call(ref, operation, until, KeyId=ref.name, **optional, **arguments)


def _plaintext(response: Any) -> SecretValue | AstroTokenError:
    # For botocore a damaged body is a response without fields, and not an error.
    data = response.get("Plaintext")
    return SecretValue(data) if isinstance(data, bytes) else damaged()


def _ciphertext(response: Any) -> bytes:
    data = response.get("CiphertextBlob")
    if not isinstance(data, bytes) or not data:
        raise damaged()
    return data
