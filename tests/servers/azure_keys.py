"""
The keys of a strict Azure Key Vault: RSA, with the operations that wrap and unwrap other keys.

As in the service, a key that is outside of its validity still unwraps, and does not wrap;
one that is disabled does neither; and a key does only what its operations allow.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.servers import web_tokens
from tests.servers.http1 import Answer, Request

_ALGORITHMS: dict[str, padding.AsymmetricPadding] = {
    "RSA-OAEP": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303 (its definition)
    "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}
_OPERATIONS = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey"}
_made: list[rsa.RSAPrivateKey] = []


@dataclass(frozen=True)
class KeyVersion:
    """
    Attributes:
        version: its name.
        private: the key.
        operations: `key_ops`.
        attributes: `enabled`, and `nbf` and `exp` in seconds since the epoch.
    """

    version: str
    private: rsa.RSAPrivateKey = field(repr=False)
    operations: tuple[str, ...] = ("wrapKey", "unwrapKey")
    attributes: dict[str, Any] = field(default_factory=dict)


class KeyRefusedError(Exception):
    """
    Attributes:
        answer: status, code, message, inner code.
    """

    def __init__(self, status: int, code: str, message: str, inner: str | None = None) -> None:
        super().__init__(status)
        self.answer = (status, code, message, inner)


class Keys:
    """All keys of a vault; of each name its versions, the oldest first."""

    def __init__(self) -> None:
        self._keys: dict[str, list[KeyVersion]] = {}

    def put(
        self, name: str, *, operations: tuple[str, ...], bits: int, attributes: dict[str, Any]
    ) -> KeyVersion:
        made = KeyVersion(uuid.uuid4().hex, _rsa(bits, len(self._keys.get(name, []))), operations, attributes)
        self._keys.setdefault(name, []).append(made)
        return made

    def answer(self, base: str, name: str, version: str, operation: str, request: Request) -> Answer:
        """
        Raises:
            KeyRefusedError: as the service refuses.
        """
        verb = _OPERATIONS.get(operation)
        if verb is None or request.method != "POST":
            raise KeyRefusedError(405, "MethodNotAllowed", "The requested method is not allowed.")
        found = [one for one in self._keys.get(name, []) if version in {"", one.version}]
        if not found:
            text = f"A key with (name/id) {name}/{version} was not found in this key vault."
            raise KeyRefusedError(404, "KeyNotFound", text)
        key = found[-1]
        _see_that_it_may(key, verb)
        padded, value = _asked(request)
        if verb == "wrapKey":
            done = key.private.public_key().encrypt(value, padded)
        else:
            try:
                done = key.private.decrypt(value, padded)
            except ValueError:
                text = "Error occurred during decryption: The parameter is incorrect."
                raise KeyRefusedError(400, "BadParameter", text) from None
        kid = f"{base}/keys/{name}/{key.version}"
        return Answer.json({"kid": kid, "value": web_tokens.encode(done)})


def _rsa(bits: int, number: int) -> rsa.RSAPrivateKey:
    """One that was made before where it can be: making one takes a while."""
    fitting = [key for key in _made if key.key_size == bits]
    if len(fitting) <= number:
        _made.append(rsa.generate_private_key(public_exponent=65537, key_size=bits))
        return _made[-1]
    return fitting[number]


def _see_that_it_may(key: KeyVersion, verb: str) -> None:
    now = time.time()
    if not key.attributes.get("enabled", True):
        text = f"Operation {verb} is not allowed on a disabled key."
        raise KeyRefusedError(403, "Forbidden", text, "KeyDisabled")
    if verb not in key.operations:
        text = f"Operation {verb} is not permitted on this key."
        raise KeyRefusedError(403, "Forbidden", text, "KeyOperationForbidden")
    if verb == "unwrapKey":
        return
    if key.attributes.get("exp", now + 1) <= now:
        text = f"Operation {verb} is not allowed on an expired key."
        raise KeyRefusedError(403, "Forbidden", text, "KeyExpired")
    if key.attributes.get("nbf", now) > now:
        text = f"Operation {verb} is not allowed on a key that is not yet valid."
        raise KeyRefusedError(403, "Forbidden", text, "KeyNotYetValid")


def _asked(request: Request) -> tuple[padding.AsymmetricPadding, bytes]:
    try:
        asked = json.loads(request.body)
        return _ALGORITHMS[asked["alg"]], web_tokens.decode(asked["value"])
    except (ValueError, LookupError, TypeError):
        raise KeyRefusedError(400, "BadParameter", "Property 'alg' or 'value' is invalid.") from None
