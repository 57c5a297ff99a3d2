"""The transit engine: keys that never leave Vault."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from astro_token.errors import DecryptError, SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.client import VaultService
from astro_token_backends.vault.errors import StatusError, requiring, translated, unexpected

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["Transit"]

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_DEFAULT_MOUNT = "transit"


class Transit(VaultService):
    """
    Decrypts and encrypts with a key of HashiCorp Vault's and OpenBao's transit engine.

    Reference: `vault-transit:KEY[?namespace=NS]`, or `MOUNT/KEY` if the mount is not `transit`.
    A ciphertext is Vault's text, `vault:v1:…`.

    Credentials: those of `vault`.

    Least permissions for decrypting and for encrypting:

        path "transit/decrypt/astro" { capabilities = ["update"] }
        path "transit/encrypt/astro" { capabilities = ["update"] }

    With `create`, Vault would create a key if none has that name.
    """

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), translated)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), translated)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, timeout: float) -> SecretValue:
        text = ciphertext.decode("ascii", errors="replace").strip()
        if not _is_ciphertext(text):
            raise DecryptError(
                "the secret's value is not a ciphertext of Vault",
                hint="store a text that begins with vault:v1:",
            )
        plaintext = self._call(ref, "decrypt", "plaintext", text, timeout)
        try:
            return SecretValue(b64decode(plaintext, validate=True))
        except ValueError:
            raise unexpected() from None

    def _encrypt(self, ref: SecretRef, value: SecretValue, timeout: float) -> bytes:
        plaintext = b64encode(value.reveal()).decode()
        ciphertext = self._call(ref, "encrypt", "ciphertext", plaintext, timeout)
        if not _is_ciphertext(ciphertext):
            raise unexpected()
        return ciphertext.encode()

    def _call(self, ref: SecretRef, verb: str, field: str, text: str, timeout: float) -> str:
        """Call `decrypt` or `encrypt`, and return one field of the response."""
        mount, _, key = ref.name.rpartition("/")
        mount = mount or _DEFAULT_MOUNT
        adapter = self._adapter(ref, timeout)
        if mount != _DEFAULT_MOUNT:
            self._check_mount(adapter, mount)
        adapter.repeatable = True
        call = getattr(adapter.api("secrets_engines.transit:Transit"), f"{verb}_data")
        with requiring(f"{mount}/{verb}/{key}", "update"):
            try:
                content = call(key, text, mount_point=mount)
            except StatusError as refused:
                if not refused.is_explained:
                    raise
                if refused.status == 404 or refused.says("key not found"):  # noqa: PLR2004
                    raise SecretNotFoundError(
                        "the key does not exist", hint="check the mount and the name of the key"
                    ) from None
                raise DecryptError(
                    f"Vault cannot {verb} the value with this key",
                    hint="check that this key encrypted it, and that the key's version is still allowed",
                ) from None
        data = content.get("data")
        result = data.get(field) if isinstance(data, dict) else None
        if not isinstance(result, str):
            raise unexpected()
        return result

    def _check_mount(self, adapter: Any, mount: str) -> None:
        """Check once that a mount is a transit engine: in another engine the request would write."""
        if (adapter.namespace, mount) in self._client.transit_mounts:
            return
        try:
            kind = self._client.mount(adapter, mount).get("type")
        except StatusError as refused:
            raise refused.translated(
                f"check that the mount {mount} exists, and that the Vault token may use it and is valid"
            ) from None
        if not isinstance(kind, str):
            raise unexpected()
        if kind != "transit":
            raise SecretNotFoundError(
                "the reference does not lead to a transit engine", hint="check the name of the mount"
            )
        self._client.transit_mounts.add((adapter.namespace, mount))


def _is_ciphertext(text: str) -> bool:
    """`vault:v1:` with any version, and base64."""
    scheme, _, rest = text.partition(":v")
    version, _, data = rest.partition(":")
    is_number = version.isascii() and version.isdigit()
    return scheme == "vault" and is_number and bool(data) and _BASE64.issuperset(data)
