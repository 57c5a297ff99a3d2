"""AWS Secrets Manager: `aws:NAME`, with botocore, the core of boto3."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import AstroTokenError, InvalidRefError, SecretNotFoundError
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.aws.endpoint import region_of, resolve_region
from astro_token_backends.aws.errors import damaged, is_refusal, refused
from astro_token_backends.aws.staged_versions import CURRENT, StagedVersions, content_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.aws.client import Outcome

__all__ = ["SecretsManager", "canonical"]

_OPTIONS = {"version_id": "VersionId", "stage": "VersionStage"}
_PENDING = "ASTRO_TOKEN"  # the stage of a new version until it becomes the current one
_VERSION = re.compile(r"[A-Za-z0-9-]{1,64}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")  # follows the name in an ARN, but not in a partial ARN
_SUFFIX_LENGTH = 7
_OF_PROFILE = "-"  # its region is known only when the profile has been read


def canonical(ref: SecretRef) -> str:
    """A name and an ARN stay apart: the account of the name is that of the login."""
    suffix = _SUFFIX.fullmatch(ref.name[-_SUFFIX_LENGTH:]) if ref.name.startswith("arn:") else None
    name = ref.name[:-_SUFFIX_LENGTH] if suffix else ref.name
    return f"{resolve_region(region_of(ref), _OF_PROFILE)}:{name}"


class SecretsManager(StagedVersions):
    """
    Secrets of AWS Secrets Manager: their text or bytes, of the stage AWSCURRENT by default.

    Reference: `aws:NAME-or-ARN[?region=R&version_id=ID&stage=LABEL][#field]`; an ARN may lack its suffix.

    Credentials: botocore's chain, which is keys in the environment, a profile (with roles and SSO),
    a web identity's file, the role of a container or an instance; else `AWS_ROLE_ARN` with the identity
    of the CI system; and from there the role in `ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN`.

    Permissions on the secret: `secretsmanager:GetSecretValue`, and `kms:Decrypt` if it has its own key;
    to describe `secretsmanager:DescribeSecret`; to write also `secretsmanager:PutSecretValue`,
    `secretsmanager:UpdateSecretVersionStage` and `kms:GenerateDataKey`.
    Several secrets are read at once with `secretsmanager:BatchGetSecretValue` on `*`, else one by one.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.
    """

    _service = "secretsmanager"
    _batch_size = 20
    _single_options = frozenset(_OPTIONS)

    def _read(self, ref: SecretRef, until: float) -> Outcome:
        selection = {_OPTIONS[name]: value for name, value in ref.options.items() if name in _OPTIONS}
        response = self._request(ref, "get_secret_value", until, **selection)
        if _is_ambiguous(ref.name, response.get("ARN")):
            return InvalidRefError(
                "the ARN lacks its suffix, and ends as if it had one",
                hint="name the complete ARN, or the name",
            )
        return _value(response)

    def _read_batch(self, refs: Sequence[SecretRef], until: float) -> dict[SecretRef, Outcome]:
        names = list(dict.fromkeys(ref.name for ref in refs))
        response = self._call(refs[0], "batch_get_secret_value", until, values=len(names), SecretIdList=names)
        values, errors = response.get("SecretValues"), response.get("Errors")
        if not isinstance(values, list) or not isinstance(errors or [], list):
            return dict.fromkeys(refs, damaged())
        outcomes: dict[SecretRef, Outcome] = {}
        for ref in refs:
            for value in values:
                if _is_named(ref.name, value.get("Name"), value.get("ARN")):
                    outcomes[ref] = _value(value)
            for error in errors or []:
                if _is_named(ref.name, error.get("SecretId"), error.get("SecretId")):
                    outcomes.setdefault(ref, refused(str(error.get("ErrorCode")), "GetSecretValue"))
        return outcomes

    def _describe(self, ref: SecretRef, until: float) -> SecretMetadata:
        return _metadata(self._request(ref, "describe_secret", until), ref.options)

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, until: float) -> str:
        """
        Add a version and make it the current one.

        With an expected version this is a real compare-and-set: the new version gets a stage of our own,
        and AWS moves AWSCURRENT to it only from the expected version.
        """
        # Random: an identifier derived from the value would reveal it, and would select an older version
        # of the same value. Nothing is sent twice, and the core reads the secret if a response is lost.
        new = str(uuid.uuid4())
        stage = {} if expected is None else {"VersionStages": [_PENDING]}
        try:
            response = self._request(
                ref, "put_secret_value", until, ClientRequestToken=new, **content_of(value), **stage
            )
        except Exception as error:
            if is_refusal(error, "PutSecretValue", {"ResourceNotFoundException"}):
                raise _no_secret(ref) from None
            raise
        if response.get("VersionId") != new:
            raise damaged()
        # The first version of a secret gets the stage without a request.
        if expected is not None and CURRENT not in (response.get("VersionStages") or ()):
            self._move_current(ref, new, expected, until, stage=_PENDING)
        return new


def _is_named(reference: str, name: object, arn: object) -> bool:
    """True if a secret of the response is the one that a reference names."""
    if reference in {name, arn}:
        return True
    return (
        reference.startswith("arn:")
        and isinstance(arn, str)
        and arn.startswith(reference)
        and _SUFFIX.fullmatch(arn.removeprefix(reference)) is not None
    )


def _is_ambiguous(reference: str, arn: object) -> bool:
    """True for a partial ARN whose end looks like a suffix: without it, it would name another secret."""
    return (
        reference.startswith("arn:")
        and _SUFFIX.fullmatch(reference[-7:]) is not None
        and isinstance(arn, str)
        and arn != reference
    )


def _value(response: Any) -> SecretValue | AstroTokenError:
    # For botocore a damaged body is a response without fields, and not an error.
    text, data, version = (response.get(name) for name in ("SecretString", "SecretBinary", "VersionId"))
    if isinstance(text, str):
        data = text.encode("utf-8", errors="surrogatepass")
    has_version = isinstance(version, str) and _VERSION.fullmatch(version)
    return SecretValue(data, version) if has_version and isinstance(data, bytes) else damaged()


def _metadata(response: Any, options: Mapping[str, str]) -> SecretMetadata:
    created, changed = response.get("CreatedDate"), response.get("LastChangedDate")
    if not isinstance(response.get("ARN"), str):
        raise damaged()
    # AWS may list no versions of a secret that is marked for deletion.
    deleted = response.get("DeletedDate") is not None
    tags = {str(tag.get("Key")): str(tag.get("Value", "")) for tag in response.get("Tags") or []}
    return SecretMetadata(
        version=None if deleted else _version(response.get("VersionIdsToStages") or {}, options),
        created=created if isinstance(created, datetime) else None,
        updated=changed if isinstance(changed, datetime) else None,
        enabled=not deleted,
        labels=tags or None,
    )


def _version(stages: Mapping[str, Sequence[str]], options: Mapping[str, str]) -> str:
    identifier, stage = options.get("version_id"), options.get("stage")
    stage = stage or (None if identifier else CURRENT)
    for version, own in stages.items():
        if identifier in {None, version} and stage in {None, *own}:
            return version
    raise SecretNotFoundError(
        "the secret has no such version or stage",
        hint="list them with `aws secretsmanager list-secret-version-ids --secret-id NAME`",
    )


def _no_secret(ref: SecretRef) -> SecretNotFoundError:
    region = region_of(ref)
    option = f" --region {region}" if region else ""
    name = ref.name.split(":secret:")[-1]
    return SecretNotFoundError(
        "the secret does not exist, and is not created",
        hint=f"create it with `aws secretsmanager create-secret --name {name}{option}`",
    )
