"""The transit engine: keys that never leave Vault."""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from astro_token.errors import DecryptError, IntegrityError, SecretNotFoundError
from astro_token.secret import SecretValue
from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.connection import translated
from astro_token_backends.vault.refusals import LOOK_AT_ADDRESS, MOUNT_QUESTION, StatusError, needing
from astro_token_backends.vault.service import VaultService

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.secrets.ref import SecretRef

__all__ = ["Transit"]

_CIPHERTEXT = re.compile(r"vault:v[0-9]+:[A-Za-z0-9+/=]+")

_DEFAULT_MOUNT = "transit"


class Transit(VaultService):
    """
    Decrypts and encrypts with a key of HashiCorp Vault's and OpenBao's transit engine.

    Reference: `vault-transit:KEY[?namespace=NS]`, with `MOUNT/KEY` where the mount is not `transit`.
    A ciphertext is the text that Vault gives, `vault:v1:…`.

    Credentials: those of `vault`.

    Least permission, for decrypting and for encrypting:

        path "transit/decrypt/astro" { capabilities = ["update"] }
        path "transit/encrypt/astro" { capabilities = ["update"] }

    With `create` too, Vault would make a key where there is none of that name.

    Args:
        connection: in place of the one that all of the process share.
    """

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._decrypt(ref, ciphertext, timeout), translated)

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return call_sdk(lambda: self._encrypt(ref, value, timeout), translated)

    def _decrypt(self, ref: SecretRef, ciphertext: bytes, timeout: float) -> SecretValue:
        text = ciphertext.decode("ascii", errors="replace").strip()
        if not _CIPHERTEXT.fullmatch(text):
            raise DecryptError(
                "what is to be decrypted is no ciphertext of Vault's", hint="it has to begin with vault:v1:"
            )

        def ask(transit: Any, key: str, mount: str) -> Any:
            return transit.decrypt_data(key, ciphertext=text, mount_point=mount)

        plaintext = self._ask(ref, "decrypt", "plaintext", ask, timeout)
        try:
            return SecretValue(base64.b64decode(plaintext, validate=True))
        except ValueError:
            raise IntegrityError("the answer is no base64", hint=LOOK_AT_ADDRESS) from None

    def _encrypt(self, ref: SecretRef, value: SecretValue, timeout: float) -> bytes:
        def ask(transit: Any, key: str, mount: str) -> Any:
            plaintext = base64.b64encode(value.reveal()).decode()
            return transit.encrypt_data(key, plaintext=plaintext, mount_point=mount)

        ciphertext = self._ask(ref, "encrypt", "ciphertext", ask, timeout)
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise IntegrityError("the answer is no ciphertext", hint=LOOK_AT_ADDRESS)
        return ciphertext.encode()

    def _see_that_it_is_transit(self, client: Any, mount: str) -> None:
        """Asks what a mount is, once: with any other engine the request for a key would write."""
        if (client.adapter.namespace, mount) in self._connection.transits:
            return
        try:
            answer = client.adapter.get(f"/v1/{MOUNT_QUESTION}/{mount}")
        except StatusError as refused:
            raise refused.translated(
                f"the Vault token is no longer valid, or there is no mount {mount}, or none that it may use"
            ) from None
        about = answer.get("data")
        if not isinstance(about, dict) or not isinstance(about.get("type"), str):
            raise IntegrityError("the answer is not what Vault answers to this", hint=LOOK_AT_ADDRESS)
        if about["type"] != "transit":
            raise SecretNotFoundError("the reference leads to no transit engine", hint="see the mount's name")
        self._connection.transits.add((client.adapter.namespace, mount))

    def _ask(
        self, ref: SecretRef, verb: str, wanted: str, ask: Callable[[Any, str, str], Any], timeout: float
    ) -> str:
        mount, _, key = ref.name.rpartition("/")
        mount = mount or _DEFAULT_MOUNT
        client = self._connection.client(ref.options.get("namespace", "").strip("/") or None, timeout)
        if mount != _DEFAULT_MOUNT:
            self._see_that_it_is_transit(client, mount)
        with needing(f"{mount}/{verb}/{key}", "update"):
            try:
                answer = ask(client.secrets.transit, key, mount)
            except StatusError as refused:
                if refused.explained and (
                    refused.status == HTTPStatus.NOT_FOUND or refused.says("key not found")
                ):
                    raise SecretNotFoundError(
                        "there is no such key", hint="see the mount and the key's name"
                    ) from None
                if refused.explained:
                    raise DecryptError(
                        f"Vault cannot {verb} that with this key",
                        hint="see that it was encrypted with this key, and that its version is still allowed",
                    ) from None
                raise
        data = answer.get("data")
        text = data.get(wanted) if isinstance(data, dict) else None
        if not isinstance(text, str):
            raise IntegrityError("the answer is not what Vault answers to this", hint=LOOK_AT_ADDRESS)
        return text
