"""Keys of AWS KMS: `aws-kms:KEY`, through botocore, the core of boto3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import DecryptError, InvalidTokenError, result
from astro_token.secret import SecretValue
from astro_token_backends import network
from astro_token_backends.aws.place import region_of
from astro_token_backends.aws.refusals import translated
from astro_token_backends.aws.service import AwsService
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from astro_token.errors import AstroTokenError
    from astro_token.secrets.ref import SecretRef

__all__ = ["KMS"]

_MOST_PLAIN = 4096
_MOST_CIPHER = 6144
_CONTEXT = "context."


class KMS(AwsService):
    """
    Decrypts and encrypts with a symmetric key of AWS KMS.

    Reference: `aws-kms:KEY[?region=R&context.NAME=VALUE…]`, where KEY is an id, `alias/NAME` or an ARN.
    The context is authenticated: what was encrypted with one is decrypted with the same only.
    The key goes along when we decrypt, so that no ciphertext of another key passes.

    Credentials: those of `aws`.

    Permissions on the key: `kms:Decrypt`; to put `kms:Encrypt`.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.

    Args:
        client: one of the SDK's, for all regions.
        session: in place of the one that all of the process share.
    """

    _service = "kms"

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        until = time.monotonic() + timeout
        if not 0 < len(ciphertext) <= _MOST_CIPHER:
            raise DecryptError(
                "what is to be decrypted is no ciphertext of KMS's", hint="see that it is whole, in base64"
            )
        return call_sdk(
            lambda: result(_plaintext(self._ask(ref, "decrypt", until, CiphertextBlob=ciphertext))),
            translated,
        )

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        until = time.monotonic() + timeout
        if not 0 < len(value.reveal()) <= _MOST_PLAIN:
            raise InvalidTokenError(
                f"KMS encrypts 1 to {_MOST_PLAIN} bytes, and the value has another length",
                hint="encrypt the token alone, and not what is around it",
            )
        return call_sdk(
            lambda: _ciphertext(self._ask(ref, "encrypt", until, Plaintext=value.reveal())), translated
        )

    def _ask(self, ref: SecretRef, operation: str, until: float, **arguments: Any) -> Any:
        context = {
            name.removeprefix(_CONTEXT): value
            for name, value in ref.options.items()
            if name.startswith(_CONTEXT)
        }
        further = {"EncryptionContext": context} if context else {}
        asked = {"KeyId": ref.name, **further, **arguments}
        return self._session.call("kms", operation, asked, region=region_of(ref), until=until)


def _plaintext(answer: Any) -> SecretValue | AstroTokenError:
    # To the SDK a damaged body is an answer without fields, and no error.
    data = answer.get("Plaintext")
    return SecretValue(data) if isinstance(data, bytes) else network.damaged()


def _ciphertext(answer: Any) -> bytes:
    data = answer.get("CiphertextBlob")
    if not isinstance(data, bytes) or not data:
        raise network.damaged()
    return data
