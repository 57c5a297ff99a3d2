"""
Cloud KMS as far as `gcp.GcpServer` serves it: symmetric keys, with AES-256-GCM and real checksums.

    key = gcp.keys.create("projects/p1/locations/global/keyRings/r/cryptoKeys/astro")

It refuses what the service refuses:

    a malformed name, a checksum that does not fit, no plaintext or too much,
    a ciphertext that is damaged, of another key, or made with other authenticated data   INVALID_ARGUMENT
    a key that does not exist                                                             NOT_FOUND
    a version that is disabled or destroyed, a key of another purpose                     FAILED_PRECONDITION

As in the service, a ciphertext tells the version that it needs; a key is rotated by a new primary one.
"""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import google_crc32c
import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1 import types as kms

if TYPE_CHECKING:
    from collections.abc import MutableSequence

Code = grpc.StatusCode

_NAME = re.compile(
    r"(projects/[a-z0-9][a-z0-9.:-]*/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}"
    r"/cryptoKeys/[A-Za-z0-9_-]{1,63})(?:/cryptoKeyVersions/([1-9]\d*))?"
)
_LARGEST = 65536
_NONCE = 12
_HEAD = b"\x0a\x24\x00"  # no letter of base64, as in the service


@dataclass(slots=True)
class _Key:
    purpose: str
    versions: list[bytes] = field(default_factory=list, repr=False)
    states: list[str] = field(default_factory=list)


class Keys:
    """
    Args:
        damage: taken one by each answer: `plaintext` or `ciphertext` (a flipped bit),
            `checksum` (a wrong one), `no-checksum`, `unverified`, `unverified-context`, `other-key`, `empty`.
    """

    def __init__(self, damage: MutableSequence[str]) -> None:
        self._damage = damage
        self._keys: dict[str, _Key] = {}
        self._lock = threading.RLock()

    # -- for tests ---------------------------------------------------------------------------

    def create(self, name: str, *, purpose: str = "ENCRYPT_DECRYPT") -> str:
        assert _NAME.fullmatch(name)
        with self._lock:
            self._keys[name] = _Key(purpose)
        self.rotate(name)
        return name

    def rotate(self, name: str) -> None:
        """Makes a new version, which is the primary one."""
        with self._lock:
            self._keys[name].versions.append(AESGCM.generate_key(256))
            self._keys[name].states.append("ENABLED")

    def set_state(self, name: str, version: int, state: str) -> None:
        """`ENABLED`, `DISABLED`, `DESTROY_SCHEDULED` or `DESTROYED`."""
        with self._lock:
            self._keys[name].states[version - 1] = state

    # -- the service -------------------------------------------------------------------------

    def Encrypt(self, request: kms.EncryptRequest, context: grpc.ServicerContext) -> kms.EncryptResponse:
        name, key = self._find(request.name, context)
        checked = self._check(request, "plaintext", context)
        aad_checked = self._check(request, "additional_authenticated_data", context)
        if not 0 < len(request.plaintext) <= _LARGEST:
            context.abort(Code.INVALID_ARGUMENT, f"The plaintext must have from 1 to {_LARGEST} bytes.")
        version = len(key.versions)
        self._usable(name, key, version, context)
        nonce = secrets.token_bytes(_NONCE)
        aad = request.additional_authenticated_data
        sealed = AESGCM(key.versions[-1]).encrypt(nonce, request.plaintext, aad)
        ciphertext = _HEAD + version.to_bytes(2, "big") + nonce + sealed
        answer = kms.EncryptResponse(
            name=f"{name}/cryptoKeyVersions/{version}",
            ciphertext=ciphertext,
            ciphertext_crc32c=google_crc32c.value(ciphertext),
            verified_plaintext_crc32c=checked,
            verified_additional_authenticated_data_crc32c=aad_checked,
            protection_level=kms.ProtectionLevel.SOFTWARE,
        )
        self._spoil(answer, "ciphertext")
        return answer

    def Decrypt(self, request: kms.DecryptRequest, context: grpc.ServicerContext) -> kms.DecryptResponse:
        name, key = self._find(request.name, context)
        self._check(request, "ciphertext", context)
        self._check(request, "additional_authenticated_data", context)
        head, rest = request.ciphertext[: len(_HEAD)], request.ciphertext[len(_HEAD) :]
        version = int.from_bytes(rest[:2], "big")
        if head != _HEAD or not 0 < version <= len(key.versions):
            self._not_decrypted(context)
        self._usable(name, key, version, context)
        nonce, sealed = rest[2 : 2 + _NONCE], rest[2 + _NONCE :]
        try:
            plaintext = AESGCM(key.versions[version - 1]).decrypt(
                nonce, sealed, request.additional_authenticated_data
            )
        except (InvalidTag, ValueError):
            plaintext = b""
        if not plaintext:
            self._not_decrypted(context)
        answer = kms.DecryptResponse(
            plaintext=plaintext,
            plaintext_crc32c=google_crc32c.value(plaintext),
            used_primary=version == len(key.versions),
            protection_level=kms.ProtectionLevel.SOFTWARE,
        )
        self._spoil(answer, "plaintext")
        return answer

    # -- what both have in common ------------------------------------------------------------

    def _find(self, name: str, context: grpc.ServicerContext) -> tuple[str, _Key]:
        match = _NAME.fullmatch(name)
        if match is None:
            context.abort(Code.INVALID_ARGUMENT, "Invalid resource field value in the request.")
        assert match is not None
        key = self._keys.get(match[1])
        if key is None:
            context.abort(Code.NOT_FOUND, f"CryptoKey {match[1]} not found.")
        assert key is not None
        if key.purpose != "ENCRYPT_DECRYPT":
            context.abort(Code.FAILED_PRECONDITION, f"The purpose of {match[1]} is {key.purpose}.")
        return match[1], key

    @staticmethod
    def _check(request: Any, name: str, context: grpc.ServicerContext) -> bool:
        """True if the client sent a checksum, which then has to fit."""
        checksum = f"{name}_crc32c"
        if checksum not in request:
            return False
        if getattr(request, checksum) != google_crc32c.value(getattr(request, name)):
            text = f"The checksum in field {checksum} did not match the data in field {name}."
            context.abort(Code.INVALID_ARGUMENT, text)
        return True

    @staticmethod
    def _usable(name: str, key: _Key, version: int, context: grpc.ServicerContext) -> None:
        state = key.states[version - 1]
        if state != "ENABLED":
            text = f"{name}/cryptoKeyVersions/{version} is not enabled, current state is: {state}."
            context.abort(Code.FAILED_PRECONDITION, text)

    def _spoil(self, answer: Any, name: str) -> None:
        damage = self._damage.pop(0) if self._damage else ""
        data, checksum = getattr(answer, name), f"{name}_crc32c"
        if damage == name:
            setattr(answer, name, bytes([data[0] ^ 1]) + data[1:])
        if damage == "checksum":
            setattr(answer, checksum, getattr(answer, checksum) ^ 1)
        if damage == "no-checksum":
            setattr(answer, checksum, None)
        if damage == "empty":
            setattr(answer, name, b"")
        if damage == "unverified":
            answer.verified_plaintext_crc32c = False
        if damage == "unverified-context":
            answer.verified_additional_authenticated_data_crc32c = False
        if damage == "other-key":
            answer.name = answer.name.replace("/cryptoKeys/", "/cryptoKeys/other-")

    @staticmethod
    def _not_decrypted(context: grpc.ServicerContext) -> NoReturn:
        text = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
        context.abort(Code.INVALID_ARGUMENT, text)
        raise AssertionError  # abort() does not return
