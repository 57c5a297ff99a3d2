"""
A strict AWS KMS: what MiniStack and moto leave out.

    with AwsKms() as kms:
        key = kms.create_key()
        os.environ |= kms.environment()

Checks the signature, and that a ciphertext is whole, of the key that is named and of the same context;
refuses with the service's own codes. It knows no policies, aliases or versions.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.servers.aws_signature import InvalidSignatureError, Key, signer
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.http1 import Request

_REGION = "eu-west-1"
_MAGIC = b"\x01\x02\x02\x00"
_ID = 16
_NONCE = 12


class _RefusedError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AwsKms(HttpServer):
    """
    Args:
        user: who may use it; None for one of its own.

    Attributes:
        endpoint: for `AWS_ENDPOINT_URL_KMS`.
        disabled: ids of keys that are.
    """

    def __init__(self, user: Key | None = None) -> None:
        self._keys: dict[str, AESGCM] = {}
        self._user = user or Key.make("arn:aws:iam::000000000000:user/tests")
        self.disabled: set[str] = set()
        super().__init__(self._answer)
        self.endpoint = self.url

    def create_key(self) -> str:
        """Its id."""
        name = str(uuid.uuid4())
        self._keys[name] = AESGCM(AESGCM.generate_key(256))
        return name

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_KMS": self.endpoint,
            "AWS_REGION": _REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **self._user.environment,
        }

    def _answer(self, request: Request) -> Answer:
        try:
            signer(
                request.method,
                f"{self.endpoint}{request.target}",
                request.headers,
                request.body,
                keys={self._user.id: self._user},
                place=(_REGION, "kms"),
            )
            service, _, action = request.headers.get("x-amz-target", "").partition(".")
            if service != "TrentService" or action not in {"Encrypt", "Decrypt"}:
                raise _RefusedError("UnknownOperationException")
            asked = json.loads(request.body)
            return Answer.json(self._encrypt(asked) if action == "Encrypt" else self._decrypt(asked))
        except InvalidSignatureError:
            code = "InvalidSignatureException"
        except _RefusedError as refused:
            code = refused.code
        return Answer.json({"__type": code, "message": "refused"}, 400)

    def _encrypt(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        name, key = self._key(asked["KeyId"])
        plain, nonce = base64.b64decode(asked["Plaintext"], validate=True), os.urandom(_NONCE)
        if not 0 < len(plain) <= 4096:
            raise _RefusedError("ValidationException")
        sealed = key.encrypt(nonce, plain, _bound_to(asked))
        blob = _MAGIC + uuid.UUID(name).bytes + nonce + sealed
        return {"CiphertextBlob": base64.b64encode(blob).decode(), "KeyId": self._arn(name)}

    def _decrypt(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            blob = base64.b64decode(asked["CiphertextBlob"], validate=True)
        except binascii.Error:
            raise _RefusedError("ValidationException") from None
        head = len(_MAGIC) + _ID
        if not blob.startswith(_MAGIC) or len(blob) <= head + _NONCE:
            raise _RefusedError("InvalidCiphertextException")
        of = str(uuid.UUID(bytes=blob[len(_MAGIC) : head]))
        name, key = self._key(asked["KeyId"]) if "KeyId" in asked else self._key(of)
        if name != of:
            raise _RefusedError("IncorrectKeyException")
        try:
            plain = key.decrypt(blob[head : head + _NONCE], blob[head + _NONCE :], _bound_to(asked))
        except InvalidTag:
            raise _RefusedError("InvalidCiphertextException") from None
        return {"Plaintext": base64.b64encode(plain).decode(), "KeyId": self._arn(name)}

    def _key(self, said: str) -> tuple[str, AESGCM]:
        name = said.rpartition("/")[2]
        if name not in self._keys:
            raise _RefusedError("NotFoundException")
        if name in self.disabled:
            raise _RefusedError("DisabledException")
        return name, self._keys[name]

    def _arn(self, name: str) -> str:
        return f"arn:aws:kms:{_REGION}:000000000000:key/{name}"


def _bound_to(asked: Mapping[str, Any]) -> bytes:
    """The encryption context, which is authenticated and not encrypted."""
    return json.dumps(asked.get("EncryptionContext", {}), sort_keys=True).encode()


def main() -> None:
    from tests.servers import by_hand

    with AwsKms() as kms:
        by_hand.serve("AWS KMS", kms.environment(), f"it has the key {kms.create_key()}")


if __name__ == "__main__":
    main()
