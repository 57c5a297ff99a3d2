"""Google Cloud KMS: `gcp-kms:projects/…/cryptoKeys/…`, keys that never leave the service."""

from __future__ import annotations

import json
import re

from astro_token.errors import (
    AstroTokenError,
    ConfigError,
    DecryptError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secret import SecretValue
from astro_token.transport.failure import damaged
from astro_token_backends.boundary import call_sdk
from astro_token_backends.gcp.client import GcpService, Method, unknown
from astro_token_backends.gcp.errors import Permission

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from astro_token.secrets.ref import SecretRef
    from astro_token.transport.route import Route

__all__ = ["KMS"]

_API = "cloudkms.googleapis.com"
_SDK = ("google.cloud.kms_v1", "google.cloud.kms.v1.KeyManagementService")
_DECRYPT, _ENCRYPT = (
    Method(
        *_SDK,
        name,
        f"service.{name.capitalize()}Response",
        Permission(
            _API,
            "key",
            f"cloudkms.cryptoKeyVersions.useTo{name.capitalize()}",
            f"roles/cloudkms.cryptoKey{name.capitalize()}er",
        ),
    )
    for name in ("decrypt", "encrypt")
)
_LARGEST = 65536
_CONTEXT = "context."


class KMS(GcpService):
    """
    Decrypt and encrypt with a symmetric key of Google Cloud KMS.

    Reference: `gcp-kms:projects/P/locations/L/keyRings/R/cryptoKeys/K[?context.NAME=VALUE…]`.
    The context becomes the additional authenticated data: a JSON object of strings, its names sorted,
    without blanks, in UTF-8; without a context there is none.

    `credential_chain` lists the credentials; docs/gcp.md has the permissions and the number of requests.

    Args:
        client: the SDK's, which brings its own credentials.
        connection: in place of the process's.
    """

    _package = _SDK[0]

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), unknown)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), unknown)

    def _route(self, ref: SecretRef) -> Route:  # noqa: ARG002 (one service for all keys)
        return self._route_to("Cloud KMS", "ASTRO_TOKEN_GCP_KMS_ENDPOINT", _API)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, seconds: float) -> SecretValue:
        if not ciphertext:
            raise DecryptError("the ciphertext is empty", hint="check the content of the secret")
        import google_crc32c

        response = self._call(ref, _DECRYPT, "ciphertext", ciphertext, seconds)
        checksum = google_crc32c.value(response.plaintext)
        if "plaintext_crc32c" not in response or response.plaintext_crc32c != checksum:
            raise damaged(self._route(ref))
        return SecretValue(response.plaintext)

    def _encrypt(self, ref: SecretRef, value: SecretValue, seconds: float) -> bytes:
        if not 0 < len(value.reveal()) <= _LARGEST:
            raise InvalidTokenError(f"Cloud KMS encrypts from 1 to {_LARGEST} bytes")
        import google_crc32c

        response = self._call(ref, _ENCRYPT, "plaintext", value.reveal(), seconds)
        ciphertext: bytes = response.ciphertext
        is_intact = (
            response.verified_plaintext_crc32c
            and response.verified_additional_authenticated_data_crc32c
            and "ciphertext_crc32c" in response
            and response.ciphertext_crc32c == google_crc32c.value(ciphertext)
        )
        key = re.sub(r"/cryptoKeyVersions/[1-9][0-9]*\Z", "", response.name)
        if not is_intact or _below_project(key) != _below_project(ref.name):
            raise damaged(self._route(ref))
        return ciphertext

    def _call(self, ref: SecretRef, method: Method, field: str, content: bytes, seconds: float) -> Any:
        import google_crc32c

        data = {field: content, "additional_authenticated_data": authenticated_data(ref)}
        checksums = {f"{name}_crc32c": google_crc32c.value(part) for name, part in data.items()}
        return self._connection.call(
            method,
            self._route(ref),
            {"name": ref.name, **data, **checksums},
            refused=lambda error: self._refused(error, method, ref),
            seconds=seconds,
            injected=self._injected,
        )

    def _refused(self, error: Any, method: Method, ref: SecretRef) -> AstroTokenError | None:
        from google.api_core import exceptions as sdk

        _, project, _, location, _, ring, _, key = ref.name.split("/")
        match error:
            case sdk.NotFound():
                return SecretNotFoundError(
                    "the key does not exist",
                    hint="check the project, the location and the key ring, or create the key: "
                    f"gcloud kms keys create {key} --keyring={ring} --location={location} "
                    f"--project={project} --purpose=encryption",
                )
            case sdk.FailedPrecondition():
                return UnusableSecretError(
                    "the key cannot be used: a version is disabled or destroyed, or it is not for encryption",
                    hint="check gcloud kms keys versions list; enable a disabled version, or restore one "
                    "that is scheduled for destruction",
                )
            case sdk.InvalidArgument() if "crc32c" in error.message:
                return damaged(self._route(ref))  # the request was damaged, and the service noticed
            case sdk.InvalidArgument() if method is _DECRYPT:
                return DecryptError(
                    "Google Cloud cannot decrypt this ciphertext with this key",
                    hint="check that it is complete, and was encrypted with this key and this context",
                )
            case sdk.InvalidArgument():
                return ConfigError(
                    "Google Cloud cannot encrypt with this key",
                    hint="name a key with the purpose of symmetric encryption",
                )
        return None


def authenticated_data(ref: SecretRef) -> bytes:
    """Render the context in its only form, which gives the same bytes each time."""
    context = {
        name.removeprefix(_CONTEXT): value for name, value in ref.options.items() if name.startswith(_CONTEXT)
    }
    if not context:
        return b""
    return json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _below_project(name: str) -> str:
    """The key's name without its project, which responses name by its number."""
    return name.rpartition("/locations/")[2]
