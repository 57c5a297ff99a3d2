"""
A strict AWS Secrets Manager: the moves of stages and the repeated requests, which emulators get wrong.

    with AwsSecrets() as secrets:
        arn = secrets.create("astro/prod", "…")
        version = secrets.rotate("astro/prod")     # as RotateSecret begins: an empty version, AWSPENDING
        os.environ |= secrets.environment()

Checks the signature, and refuses with the service's own codes. `actions` has each operation with its secret.
It knows no policies, batches or deletion.
"""

from __future__ import annotations

import json
import os
import secrets
import string
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.aws_signature import InvalidSignatureError, Key, signer
from tests.servers.http1 import Answer, HttpServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.http1 import Request

_REGION = "eu-west-1"
_ALPHABET = string.ascii_letters + string.digits
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"


class _RefusedError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Secret:
    """
    Attributes:
        versions: the content of each; None if it has none yet.
        stages: the version of each stage.
    """

    name: str
    arn: str
    versions: dict[str, str | None] = field(default_factory=dict, repr=False)
    stages: dict[str, str] = field(default_factory=dict)
    is_rotated: bool = False

    def own(self, version: str) -> list[str]:
        return sorted(stage for stage, holder in self.stages.items() if holder == version)

    def move(self, stage: str, version: str) -> None:
        if stage == CURRENT and self.stages.get(CURRENT) not in {None, version}:
            self.stages[PREVIOUS] = self.stages[CURRENT]
        self.stages[stage] = version


class AwsSecrets(HttpServer):
    """
    Attributes:
        actions: of all requests: the operation, and the name of the secret.
    """

    def __init__(self) -> None:
        self._user = Key.make("arn:aws:iam::000000000000:user/tests")
        self.secrets: dict[str, Secret] = {}
        self.actions: list[tuple[str, str]] = []
        super().__init__(self._answer)

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url,
            "AWS_REGION": _REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **self._user.environment,
        }

    # -- by the side of those who store ----------------------------------------------------------------

    def create(self, name: str, text: str) -> str:
        """Return its ARN."""
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(6))
        secret = Secret(name, f"arn:aws:secretsmanager:{_REGION}:000000000000:secret:{name}-{suffix}")
        self.secrets[name] = secret
        self.put(name, text)
        return secret.arn

    def put(self, name: str, text: str) -> None:
        secret, version = self.secrets[name], str(uuid.uuid4())
        secret.versions[version] = text
        secret.move(CURRENT, version)

    def read(self, name: str, stage: str = CURRENT) -> str | None:
        secret = self.secrets.get(name)
        return secret.versions[secret.stages[stage]] if secret and stage in secret.stages else None

    def rotate(self, name: str) -> str:
        """
        Begin a rotation, and return the version of its request.

        One whose version is pending and not current is tried again, as AWS does.
        """
        secret = self.secrets[name]
        secret.is_rotated = True
        pending = secret.stages.get(PENDING)
        if pending is not None and pending != secret.stages.get(CURRENT):
            return pending
        version = str(uuid.uuid4())
        secret.versions[version] = None
        secret.stages[PENDING] = version
        return version

    def is_rotated(self, name: str, version: str) -> bool:
        """True if AWS takes the rotation for done: no version but the current one is pending."""
        stages = self.secrets[name].stages
        return stages.get(PENDING) in {None, stages[CURRENT]} and version not in {
            holder for stage, holder in stages.items() if stage not in {CURRENT, PREVIOUS, PENDING}
        }

    # -- the service -----------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        try:
            signer(
                request.method,
                f"{self.url}{request.target}",
                request.headers,
                request.body,
                keys={self._user.id: self._user},
                place=(_REGION, "secretsmanager"),
            )
            service, _, action = request.headers.get("x-amz-target", "").partition(".")
            act = _ACTIONS.get(action)
            if service != "secretsmanager" or act is None:
                raise _RefusedError("UnknownOperationException")
            given = json.loads(request.body)
            secret = self._secret(given.pop("SecretId"))
            self.actions.append((action, secret.name))
            return Answer.json({"ARN": secret.arn, "Name": secret.name, **act(secret, given)})
        except InvalidSignatureError:
            code = "InvalidSignatureException"
        except _RefusedError as refused:
            code = refused.code
        return Answer.json({"__type": code, "message": "refused"}, 400)

    def _secret(self, name: str) -> Secret:
        for secret in self.secrets.values():
            # A partial ARN lacks the suffix.
            if name in {secret.name, secret.arn, secret.arn[: -len("-xxxxxx")]}:
                return secret
        raise _RefusedError("ResourceNotFoundException")


def _get(secret: Secret, given: Mapping[str, Any]) -> dict[str, Any]:
    version, stage = given.get("VersionId"), given.get("VersionStage")
    if version is None:
        version = secret.stages.get(stage or CURRENT)
    elif stage is not None and secret.stages.get(stage) != version:
        raise _RefusedError("ResourceNotFoundException")
    content = secret.versions.get(version) if version else None
    if content is None:
        raise _RefusedError("ResourceNotFoundException")
    return {"VersionId": version, "SecretString": content, "VersionStages": secret.own(str(version))}


def _describe(secret: Secret, _: Mapping[str, Any]) -> dict[str, Any]:
    stages = {version: own for version in secret.versions if (own := secret.own(version))}
    return {"VersionIdsToStages": stages, **({"RotationEnabled": True} if secret.is_rotated else {})}


def _put(secret: Secret, given: Mapping[str, Any]) -> dict[str, Any]:
    version, content = given["ClientRequestToken"], given["SecretString"]
    if not 32 <= len(version) <= 64:
        raise _RefusedError("InvalidParameterException")
    before = secret.versions.get(version)
    if before is not None:
        if before != content:
            raise _RefusedError("ResourceExistsException")
        return {"VersionId": version, "VersionStages": secret.own(version)}  # nothing changes
    secret.versions[version] = content
    for stage in given.get("VersionStages", [CURRENT]):
        secret.move(stage, version)
    return {"VersionId": version, "VersionStages": secret.own(version)}


def _update(secret: Secret, given: Mapping[str, Any]) -> dict[str, Any]:
    stage, source, target = (
        given.get(key) for key in ("VersionStage", "RemoveFromVersionId", "MoveToVersionId")
    )
    if any(version is not None and version not in secret.versions for version in (source, target)):
        raise _RefusedError("ResourceNotFoundException")
    holder = secret.stages.get(str(stage))
    # A stage moves only from the version that is named, and AWSCURRENT cannot be removed.
    if holder != source and not (holder is None and source is None) and holder != target:
        raise _RefusedError("InvalidParameterException")
    if source is not None and holder != source:
        raise _RefusedError("InvalidParameterException")
    if target is not None:
        secret.move(str(stage), target)
    elif stage == CURRENT:
        raise _RefusedError("InvalidParameterException")
    else:
        del secret.stages[str(stage)]
    return {}


_ACTIONS = {
    "GetSecretValue": _get,
    "DescribeSecret": _describe,
    "PutSecretValue": _put,
    "UpdateSecretVersionStage": _update,
}


def main() -> None:
    from tests.servers import by_hand

    with AwsSecrets() as server:
        arn = server.create("astro/prod", "{}")
        by_hand.serve("AWS Secrets Manager", server.environment(), f"it has the secret {arn}")


if __name__ == "__main__":
    main()
