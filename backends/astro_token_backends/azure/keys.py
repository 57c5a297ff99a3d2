"""Azure Key Vault keys, which wrap the key that a token is encrypted with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from astro_token.errors import DecryptError
from astro_token.secret import SecretValue
from astro_token_backends import network
from astro_token_backends.azure.address import Address
from astro_token_backends.azure.jwe import ALGORITHM, Envelope, decoded, encoded, new_key, sealed
from astro_token_backends.azure.refusals import Asked, asking, translated
from astro_token_backends.azure.service import AzureService
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.azure.login import Login

__all__ = ["Keys"]

_NEEDS = (
    "Microsoft.KeyVault/vaults/keys/{}/action (role Key Vault Crypto User, of a managed HSM "
    "Managed HSM Crypto User), or the access policy {} on keys"
)
_WRAP, _UNWRAP = _NEEDS.format("wrap", "Wrap Key"), _NEEDS.format("unwrap", "Unwrap Key")


class Keys(AzureService):
    """
    Decrypts and encrypts with an RSA key of Azure Key Vault or of a managed HSM.

    A token is too long for the key itself: it is encrypted by a key of its own, and that one by the vault.
    The ciphertext is a compact JWE (RFC 7516), RSA-OAEP-256 and A256GCM, whose `kid` is the vault's key.

    Reference: `azure-keys:VAULT/KEY[?version=ID]`, or the key's URL in place of the name.
    Encrypting takes the newest version. Decrypting takes the one that `kid` names,
    but from nowhere else than the reference's vault, and with no other key of it.

    Credentials: those of `ways`, shared with `azure`.

    Least permission, as data actions of a role: `Microsoft.KeyVault/vaults/keys/unwrap/action` to decrypt,
    `…/wrap/action` to encrypt.

    Requests: 1, and before the first for the login and for the vault's challenge: see docs/azure.md.

    Args:
        login: in place of the one that all of the process share.
        credential: of the SDK, in place of those in the environment.
    """

    _kind = "keys"

    def __init__(self, login: Login | None = None, credential: Any = None) -> None:
        import azure.keyvault.keys  # noqa: F401 (what is not installed has to show here)
        import cryptography  # noqa: F401

        super().__init__(login, credential)

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), translated)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), translated)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, timeout: float) -> SecretValue:
        address = Address.of(ref, "keys")
        envelope = Envelope.parse(ciphertext)
        version = _version_of(envelope.kid, address)
        self._login.wire.begin(timeout)
        _, key = self._post(Asked(address, "key", "unwrapKey", _UNWRAP), version, envelope.wrapped)
        return envelope.opened(SecretValue(key))

    def _encrypt(self, ref: SecretRef, value: SecretValue, timeout: float) -> bytes:
        address = Address.of(ref, "keys")
        key = new_key()
        self._login.wire.begin(timeout)
        asked = Asked(address, "key", "wrapKey", _WRAP)
        version, wrapped = self._post(asked, address.version, key.reveal())
        return sealed(value, key, wrapped, f"https://{address.host}/keys/{address.name}/{version}")

    def _post(self, asked: Asked, version: str | None, data: bytes) -> tuple[str, bytes]:
        """
        The version of the key that did it, and what it made.

        The SDK's own client for cryptography asks for the key first, and hides a denial of that;
        this is the way that it documents for requests it has no method for.
        """
        from azure.core.rest import HttpRequest

        address = asked.address
        # An empty version is the newest.
        request = HttpRequest(
            "POST",
            f"keys/{address.name}/{version or ''}/{asked.verb.lower()}",
            json={"alg": ALGORITHM, "value": encoded(data)},
        )
        with asking(asked):
            answer = self._client(address.host).send_request(request)
        if answer.status_code != 200:  # noqa: PLR2004
            raise asked.refused(answer)
        content = answer.own() or {}
        kid, value = content.get("kid"), content.get("value")
        made = decoded(value.rstrip("=")) if isinstance(value, str) else None
        used = re.fullmatch(
            r"https://[^/?#]+/keys/([^/?#]+)/([0-9a-f]{32})", kid if isinstance(kid, str) else ""
        )
        if not made or not used or used[1].lower() != address.name.lower() or version not in {None, used[2]}:
            raise network.damaged()
        return used[2], made

    def _client(self, host: str) -> Any:
        from azure.keyvault.keys import KeyClient

        clients = self._clients
        if host not in clients:
            clients[host] = KeyClient(f"https://{host}", **self._login.options(host))
        return clients[host]


def _version_of(kid: str | None, address: Address) -> str | None:
    """
    The version that a ciphertext is of.

    Raises:
        DecryptError: it is of another key. Whoever wrote the ciphertext does not choose where we go.
    """
    if kid is None:
        return address.version
    url = (
        urlsplit(kid)
        if re.fullmatch(r"https://[A-Za-z0-9.:-]+/keys/[0-9A-Za-z-]+/[0-9a-f]{32}", kid)
        else None
    )
    parts = url.path.split("/") if url else []
    if url is None or url.netloc.lower() != address.host or parts[2].lower() != address.name.lower():
        raise DecryptError(
            "what is to be decrypted is of another key than the reference's",
            hint="see the vault and the name of the key in the reference",
        )
    if address.version is not None and address.version != parts[3]:
        raise DecryptError(
            "what is to be decrypted is of another version of the key", hint="leave the version out"
        )
    return parts[3]
