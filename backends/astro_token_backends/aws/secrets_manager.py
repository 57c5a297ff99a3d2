"""AWS Secrets Manager: `aws:NAME`, through botocore, the core of boto3."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, SecretNotFoundError, changed_meanwhile, result
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends import network
from astro_token_backends.aws.batch import in_batches
from astro_token_backends.aws.place import region_of
from astro_token_backends.aws.refusals import code_of, refused, translated
from astro_token_backends.aws.service import AwsService
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astro_token.secrets.ref import SecretRef

__all__ = ["SecretsManager"]

_OPTIONS = {"version_id": "VersionId", "stage": "VersionStage"}
_CURRENT = "AWSCURRENT"
_OURS = "ASTRO_TOKEN"  # the stage under which a new version waits until it is made the current one
_BATCH = 20
_VERSION = re.compile(r"[A-Za-z0-9-]{1,64}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")  # which an ARN has behind the name, and a partial ARN has not


class SecretsManager(AwsService):
    """
    Secrets of AWS Secrets Manager: their text or bytes, of the stage AWSCURRENT unless told otherwise.

    Reference: `aws:NAME-or-ARN[?region=R&version_id=ID&stage=LABEL][#field]`; an ARN may lack its suffix.

    Credentials: the SDK's chain, which is keys in the environment, a profile (with roles and SSO),
    a web identity's file, the role of a container or an instance; else `AWS_ROLE_ARN` with the identity
    of the CI system; and from there the role in `ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN`.

    Permissions on the secret: `secretsmanager:GetSecretValue`, and `kms:Decrypt` where it has its own key;
    to describe `secretsmanager:DescribeSecret`; to write further `secretsmanager:PutSecretValue`,
    `secretsmanager:UpdateSecretVersionStage` and `kms:GenerateDataKey`.
    Several are read at once with `secretsmanager:BatchGetSecretValue` on `*`, and one by one without it.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.

    Args:
        client: one of the SDK's, for all regions.
        session: in place of the one that all of the process share.
    """

    _service = "secretsmanager"

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        until = time.monotonic() + timeout
        return call_sdk(lambda: self._read(ref, until), translated)

    def read_many(
        self, refs: Sequence[SecretRef], *, timeout: float
    ) -> dict[SecretRef, SecretValue | AstroTokenError]:
        until = time.monotonic() + timeout
        return in_batches(
            refs,
            _BATCH,
            lambda ref: None if _OPTIONS.keys() & ref.options.keys() else (region_of(ref),),
            lambda some: self._read_batch(some, until),
            lambda ref: self._read(ref, until),
        )

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        until = time.monotonic() + timeout
        return call_sdk(lambda: _metadata(self._ask(ref, "describe_secret", until), ref.options), translated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """
        Adds a version and makes it the current one.

        With an expected version this is a real compare-and-set:
        the new version waits under a stage of our own,
        and AWS moves AWSCURRENT to it only from the version that was expected.
        """
        until = time.monotonic() + timeout
        return call_sdk(lambda: self._write(ref, value, expected_version, until), translated)

    def _ask(self, ref: SecretRef, operation: str, until: float, **arguments: Any) -> Any:
        asked = {"SecretId": ref.name, **arguments}
        return self._session.call("secretsmanager", operation, asked, region=region_of(ref), until=until)

    def _read(self, ref: SecretRef, until: float) -> SecretValue:
        asked = {_OPTIONS[name]: value for name, value in ref.options.items() if name in _OPTIONS}
        return result(_value(self._ask(ref, "get_secret_value", until, **asked)))

    def _read_batch(
        self, refs: Sequence[SecretRef], until: float
    ) -> dict[SecretRef, SecretValue | AstroTokenError]:
        names = list(dict.fromkeys(ref.name for ref in refs))
        answer = self._session.call(
            "secretsmanager",
            "batch_get_secret_value",
            {"SecretIdList": names},
            region=region_of(refs[0]),
            until=until,
            answers=len(names),
        )
        values, errors = answer.get("SecretValues"), answer.get("Errors")
        if not isinstance(values, list) or not isinstance(errors or [], list):
            return dict.fromkeys(refs, network.damaged())
        found: dict[SecretRef, SecretValue | AstroTokenError] = {}
        for ref in refs:
            for one in values:
                if _is(ref.name, one.get("Name"), one.get("ARN")):
                    found[ref] = _value(one)
            for one in errors or []:
                if _is(ref.name, one.get("SecretId"), one.get("SecretId")):
                    found.setdefault(ref, refused(str(one.get("ErrorCode")), "GetSecretValue"))
        return found

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, until: float) -> str:
        # A new one each time: one derived from the value would tell of it, and would lead to an older version
        # of the same value. Nothing is sent twice, and the core looks at what is there if an answer is lost.
        new = str(uuid.uuid4())
        stage = {} if expected is None else {"VersionStages": [_OURS]}
        try:
            answer = self._ask(
                ref, "put_secret_value", until, ClientRequestToken=new, **_content(value), **stage
            )
        except Exception as error:
            if (
                getattr(error, "operation_name", "") == "PutSecretValue"
                and code_of(error) == "ResourceNotFoundException"
            ):
                raise _no_secret(ref) from None
            raise
        if answer.get("VersionId") != new:
            raise network.damaged()
        # The first version of a secret gets the stage by itself.
        if expected is not None and _CURRENT not in (answer.get("VersionStages") or ()):
            self._make_current(ref, new, expected, until)
        return new

    def _make_current(self, ref: SecretRef, new: str, expected: str, until: float) -> None:
        before = {} if expected == "0" else {"RemoveFromVersionId": expected}
        try:
            self._ask(
                ref,
                "update_secret_version_stage",
                until,
                VersionStage=_CURRENT,
                MoveToVersionId=new,
                **before,
            )
        except Exception as error:
            if getattr(error, "operation_name", "") != "UpdateSecretVersionStage":
                raise
            # Whatever the reason, nothing may be left that says that this version is waited for.
            with suppress(Exception):
                self._ask(
                    ref,
                    "update_secret_version_stage",
                    until,
                    VersionStage=_OURS,
                    RemoveFromVersionId=new,
                )
            if code_of(error) not in _SOMEBODY_ELSE:
                raise
        else:
            return
        raise changed_meanwhile()


# How AWS says that the stage is not on the version that was expected.
_SOMEBODY_ELSE = {"InvalidParameterException", "ResourceNotFoundException"}


def _is(asked: str, name: object, arn: object) -> bool:
    """True if that is what a secret that was asked for is called in the answer."""
    if asked in {name, arn}:
        return True
    return (
        asked.startswith("arn:")
        and isinstance(arn, str)
        and arn.startswith(asked)
        and _SUFFIX.fullmatch(arn.removeprefix(asked)) is not None
    )


def _value(answer: Any) -> SecretValue | AstroTokenError:
    # To the SDK a damaged body is an answer without fields, and no error.
    text, data, version = (answer.get(name) for name in ("SecretString", "SecretBinary", "VersionId"))
    if isinstance(text, str):
        data = text.encode("utf-8", errors="surrogatepass")
    named = isinstance(version, str) and _VERSION.fullmatch(version)
    return SecretValue(data, version) if named and isinstance(data, bytes) else network.damaged()


def _content(value: SecretValue) -> dict[str, str | bytes]:
    try:
        return {"SecretString": value.reveal().decode()}
    except UnicodeDecodeError:
        return {"SecretBinary": value.reveal()}


def _metadata(answer: Any, options: Mapping[str, str]) -> SecretMetadata:
    created, changed = answer.get("CreatedDate"), answer.get("LastChangedDate")
    if not isinstance(answer.get("ARN"), str):
        raise network.damaged()
    # A secret marked for deletion may tell of no versions.
    deleted = answer.get("DeletedDate") is not None
    tags = {str(tag.get("Key")): str(tag.get("Value", "")) for tag in answer.get("Tags") or []}
    return SecretMetadata(
        version=None if deleted else _version(answer.get("VersionIdsToStages") or {}, options),
        created=created if isinstance(created, datetime) else None,
        updated=changed if isinstance(changed, datetime) else None,
        enabled=not deleted,
        labels=tags or None,
    )


def _version(stages: Mapping[str, Sequence[str]], options: Mapping[str, str]) -> str:
    wanted, stage = options.get("version_id"), options.get("stage")
    for version, its in stages.items():
        if wanted in {None, version} and (stage or (None if wanted else _CURRENT)) in {None, *its}:
            return version
    raise SecretNotFoundError(
        "the secret has no such version or stage",
        hint="`aws secretsmanager list-secret-version-ids --secret-id NAME` lists them",
    )


def _no_secret(ref: SecretRef) -> SecretNotFoundError:
    region = region_of(ref)
    where = f" --region {region}" if region else ""
    name = ref.name.split(":secret:")[-1]
    return SecretNotFoundError(
        "there is no such secret, and none is made",
        hint=f"`aws secretsmanager create-secret --name {name}{where}` makes it",
    )
