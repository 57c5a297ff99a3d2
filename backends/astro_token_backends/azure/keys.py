"""Azure Key Vault keys. A key wraps the content key that a token is encrypted with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import DecryptError
from astro_token.secret import SecretValue
from astro_token_backends.azure.client import AzureService
from astro_token_backends.azure.errors import Operation, damaged, translated
from astro_token_backends.azure.jwe import ALGORITHM, Envelope, base64url, from_base64url, new_key, seal
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.azure.login import Login
    from astro_token_backends.azure.settings import ObjectId

__all__ = ["Keys"]

_PERMISSION = (
    "Microsoft.KeyVault/vaults/keys/{}/action (role Key Vault Crypto User, of a managed HSM "
    "Managed HSM Crypto User), or the access policy {} on keys"
)
_WRAP, _UNWRAP = _PERMISSION.format("wrap", "Wrap Key"), _PERMISSION.format("unwrap", "Unwrap Key")
_KEY_URL = r"https://([A-Za-z0-9.:-]+)/keys/([0-9A-Za-z-]+)/([0-9a-f]{32})"


class Keys(AzureService):
    """
    RSA keys of Azure Key Vault or of a managed HSM: decrypt and encrypt.

    A token is too long for the key itself: it is encrypted with a content key, which the vault wraps.
    The ciphertext is a compact JWE (RFC 7516), RSA-OAEP-256 and A256GCM; its `kid` is the vault's key.

    Reference: `azure-keys:VAULT/KEY[?version=ID]`, or the key's URL in place of the name.
    The newest version encrypts. The version in `kid` decrypts,
    but only in the vault and with the key of the reference.

    `credential_chain` lists the credentials; docs/azure.md has the permissions and the number of requests.
    """

    _kind = "keys"
    _client_name = "KeyClient"

    def __init__(self, login: Login | None = None, credential: Any = None) -> None:
        import cryptography  # noqa: F401 (report now that it is not installed)

        super().__init__(login, credential)

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), translated)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), translated)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, timeout: float) -> SecretValue:
        target = self._begin(ref, timeout)
        envelope = Envelope.parse(ciphertext)
        version = _key_version(envelope.kid, target)
        _, key = self._post(Operation(target, "key", "unwrapKey", _UNWRAP), version, envelope.wrapped)
        return envelope.open(SecretValue(key))

    def _encrypt(self, ref: SecretRef, value: SecretValue, timeout: float) -> bytes:
        target = self._begin(ref, timeout)
        key = new_key()
        operation = Operation(target, "key", "wrapKey", _WRAP)
        version, wrapped = self._post(operation, target.version, key.reveal())
        return seal(value, key, wrapped, f"https://{target.host}/keys/{target.name}/{version}")

    def _post(self, operation: Operation, version: str | None, data: bytes) -> tuple[str, bytes]:
        """
        Wrap or unwrap a content key. Return the version of the vault's key, and the result.

        The SDK's client for cryptography is not used: it requests the key first, and hides a denial of that.
        `send_request` is the SDK's own means for operations that its clients have no method for.
        """
        from azure.core.rest import HttpRequest

        target = operation.target
        # Without a version, the newest is used.
        path = f"keys/{target.name}/{version or ''}/{operation.verb.lower()}"
        request = HttpRequest("POST", path, json={"alg": ALGORITHM, "value": base64url(data)})
        with operation.translating():
            response = self._client(target.host).send_request(request)
        if response.status_code != 200:  # noqa: PLR2004
            raise operation.denial(response)
        content = response.received.json() or {}
        kid, value = content.get("kid"), content.get("value")
        output = from_base64url(value.rstrip("=")) if isinstance(value, str) else None
        used = re.fullmatch(_KEY_URL, kid) if isinstance(kid, str) else None
        if not output or not used or used[2].lower() != target.name.lower() or version not in {None, used[3]}:
            raise damaged()
        return used[3], output


def _key_version(kid: str | None, target: ObjectId) -> str | None:
    """
    The version of the key that a ciphertext requires.

    Raises:
        DecryptError: it requires another key. The author of a ciphertext does not choose our vault.
    """
    if kid is None:
        return target.version
    parts = re.fullmatch(_KEY_URL, kid)
    if not parts or parts[1].lower() != target.host or parts[2].lower() != target.name.lower():
        raise DecryptError(
            "the ciphertext requires another key than the reference's",
            hint="check the vault and the name of the key in the reference",
        )
    if target.version not in {None, parts[3]}:
        raise DecryptError(
            "the ciphertext requires another version of the key",
            hint="leave the version out of the reference",
        )
    return parts[3]
