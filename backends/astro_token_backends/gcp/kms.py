"""Google Cloud KMS: `gcp-kms:projects/…/cryptoKeys/…`, keys that never leave it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
    result,
)
from astro_token.secret import SecretValue
from astro_token_backends import network
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.connection import Connection, quietly
from astro_token_backends.gcp.refusals import Need
from astro_token_backends.gcp.service import GcpService, unknown
from astro_token_backends.gcp.settings import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef

__all__ = ["KMS"]

_API = "cloudkms.googleapis.com"
_LARGEST = 65536
_CONTEXT = "context."
_NAME = re.compile(
    r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
    r"/keyRings/(?P<ring>[^/]+)/cryptoKeys/(?P<key>[^/]+)"
)


class KMS(GcpService):
    """
    Decrypts and encrypts with a symmetric key of Google Cloud KMS.

    Reference: `gcp-kms:projects/P/locations/L/keyRings/R/cryptoKeys/K[?context.NAME=VALUE…]`.
    The context becomes the additional authenticated data: a JSON object of texts, its names sorted,
    without blanks, in UTF-8; without a context there is none.

    Credentials: those of `gcp`.

    Least permissions, on the key:

        decrypt     cloudkms.cryptoKeyVersions.useToDecrypt     roles/cloudkms.cryptoKeyDecrypter
        encrypt     cloudkms.cryptoKeyVersions.useToEncrypt     roles/cloudkms.cryptoKeyEncrypter

    Requests: 1, and before the first of a process the login's, which `gcp` shares.

    Args:
        client: the SDK's; it brings its own credentials.
        connection: in place of the one that all of the process share.
    """

    def __init__(self, client: Any = None, *, connection: Connection | None = None) -> None:
        with quietly():
            import google.cloud.kms_v1  # noqa: F401 (what is not installed has to show here)
        super().__init__(client, connection=connection)

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), unknown)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), unknown)

    def address(self, ref: SecretRef) -> str:  # noqa: ARG002 (one service for all keys)
        return call_sdk(lambda: f"https://{self._host()}", unknown)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, seconds: float) -> SecretValue:
        if not ciphertext:
            raise DecryptError("there is nothing to decrypt", hint="see what the secret holds")
        answer = self._ask(
            ref,
            lambda client, **options: client.decrypt(request=_decryption(ref, ciphertext), **options),
            Need(
                "cloudkms.cryptoKeyVersions.useToDecrypt", "roles/cloudkms.cryptoKeyDecrypter", *_whose(ref)
            ),
            _not_decrypted,
            seconds,
        )
        return _plaintext(answer)

    def _encrypt(self, ref: SecretRef, value: SecretValue, seconds: float) -> bytes:
        if not 0 < len(value.reveal()) <= _LARGEST:
            raise InvalidTokenError(f"Cloud KMS encrypts from 1 to {_LARGEST} bytes")
        answer = self._ask(
            ref,
            lambda client, **options: client.encrypt(request=_encryption(ref, value), **options),
            Need(
                "cloudkms.cryptoKeyVersions.useToEncrypt", "roles/cloudkms.cryptoKeyEncrypter", *_whose(ref)
            ),
            _not_encrypted,
            seconds,
        )
        return _ciphertext(answer, ref)

    def _host(self) -> str:
        return endpoint(self._connection.environ, "ASTRO_TOKEN_GCP_KMS_ENDPOINT", _API)

    def _ask(
        self,
        ref: SecretRef,
        call: Callable[..., Any],
        need: Need,
        meaning: Callable[[Any], AstroTokenError | None],
        seconds: float,
    ) -> Any:
        return self._connection.ask(
            self._host(),
            _client,
            call,
            need=need,
            meaning=lambda error: _of_the_key(error, ref) or meaning(error),
            seconds=seconds,
            injected=self._injected,
        )


def authenticated_data(ref: SecretRef) -> bytes:
    """The context, in the one form that gives the same bytes again."""
    context = {
        name.removeprefix(_CONTEXT): value for name, value in ref.options.items() if name.startswith(_CONTEXT)
    }
    if not context:
        return b""
    return json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _client(channel: Any) -> Any:
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    return KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=channel))


def _whose(ref: SecretRef) -> tuple[str, str, str]:
    return "key", ref.name.split("/")[1], _API


def _decryption(ref: SecretRef, ciphertext: bytes) -> dict[str, Any]:
    return _with_checksums(
        ref.name, {"ciphertext": ciphertext, "additional_authenticated_data": authenticated_data(ref)}
    )


def _encryption(ref: SecretRef, value: SecretValue) -> dict[str, Any]:
    return _with_checksums(
        ref.name, {"plaintext": value.reveal(), "additional_authenticated_data": authenticated_data(ref)}
    )


def _with_checksums(name: str, data: dict[str, bytes]) -> dict[str, Any]:
    import google_crc32c

    checksums = {f"{part}_crc32c": google_crc32c.value(content) for part, content in data.items()}
    return {"name": name, **data, **checksums}


def _plaintext(answer: Any) -> SecretValue:
    import google_crc32c

    whole = "plaintext_crc32c" in answer and answer.plaintext_crc32c == google_crc32c.value(answer.plaintext)
    return result(SecretValue(answer.plaintext) if whole else network.damaged())


def _ciphertext(answer: Any, ref: SecretRef) -> bytes:
    import google_crc32c

    ciphertext: bytes = answer.ciphertext
    whole = (
        answer.verified_plaintext_crc32c
        and answer.verified_additional_authenticated_data_crc32c
        and "ciphertext_crc32c" in answer
        and answer.ciphertext_crc32c == google_crc32c.value(ciphertext)
    )
    made_by = re.sub(r"/cryptoKeyVersions/[1-9]\d*\Z", "", answer.name)
    if not whole or not ciphertext or _below(made_by) != _below(ref.name):
        raise network.damaged()
    return ciphertext


def _below(name: str) -> str:
    """A key's name without its project, which answers may call by its number."""
    return name.rpartition("/locations/")[2]


# -- refusals -----------------------------------------------------------------------------------------


def _of_the_key(error: Any, ref: SecretRef) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    key = _NAME.fullmatch(ref.name)
    if isinstance(error, sdk.NotFound):
        made = (
            f"gcloud kms keys create {key['key']} --keyring={key['ring']} --location={key['location']} "
            f"--project={key['project']} --purpose=encryption makes one"
            if key
            else "check its name"
        )
        return SecretNotFoundError(
            "there is no such key", hint=f"see the project, the location and the key ring; {made}"
        )
    if isinstance(error, sdk.FailedPrecondition):
        return SecretNotFoundError(
            "the key cannot be used: a version of it is disabled or destroyed, or it is not for encryption",
            hint="see gcloud kms keys versions list; a disabled version can be enabled, "
            "and one to be destroyed restored, a destroyed one cannot",
        )
    if isinstance(error, sdk.InvalidArgument) and "crc32c" in error.message:
        return network.damaged()  # on the way there, as the service found out
    return None


def _not_decrypted(error: Any) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    if not isinstance(error, sdk.InvalidArgument):
        return None
    return DecryptError(
        "Google Cloud cannot decrypt that with this key",
        hint="see that it was encrypted with this key and the same context, and is whole",
    )


def _not_encrypted(error: Any) -> AstroTokenError | None:
    from google.api_core import exceptions as sdk

    if not isinstance(error, sdk.InvalidArgument):
        return None
    return ConfigError(
        "Google Cloud cannot encrypt with this key", hint="name a key whose purpose is symmetric encryption"
    )
