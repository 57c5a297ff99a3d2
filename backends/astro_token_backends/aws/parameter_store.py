"""Parameter Store of AWS Systems Manager: `aws-ssm:PARAMETER`, with botocore, the core of boto3."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    InvalidRefError,
    InvalidTokenError,
    SecretNotFoundError,
    changed_meanwhile,
)
from astro_token.record import Record
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.aws.client import SecretService
from astro_token_backends.aws.endpoint import region_of, resolve_region
from astro_token_backends.aws.errors import damaged, is_refusal, refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.aws.client import Outcome

__all__ = ["ParameterStore", "canonical"]

_PAGES = 20
_TYPES = {"String", "StringList", "SecureString"}


class _Parameter(Record):
    name: str
    kind: str
    version: int
    modified: datetime | None


def canonical(ref: SecretRef) -> str:
    """Only the owner's account can write a parameter. `/name` and `name` have the same ARN."""
    path = ref.name.partition(":parameter")[2]
    name = path if path.count("/") > 1 else ref.name
    return f"{resolve_region(region_of(ref), '-')}:{name}"


class ParameterStore(SecretService):
    """
    Parameters of Parameter Store: SecureString, decrypted; String; StringList, as one text.

    Reference: `aws-ssm:PARAMETER-or-ARN[?region=R&version=N|label=L][#field]`.

    Credentials: those of `aws`.

    Permissions on the parameter: `ssm:GetParameter`, and `kms:Decrypt` if it has its own key;
    to describe `ssm:DescribeParameters` on `*`; to write all of these, `ssm:PutParameter` and `kms:Encrypt`.
    Several parameters are read at once with `ssm:GetParameters`, else one by one.

    Parameter Store has no compare-and-set: the version is compared right before the write,
    and again with the version that the write returns.
    A write in between is replaced, stays in the history, and is named in the error.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.
    """

    _service = "ssm"
    _batch_size = 10

    def _read(self, ref: SecretRef, until: float) -> Outcome:
        response = self._call(ref, "get_parameter", until, Name=_selected(ref), WithDecryption=True)
        return _value(response.get("Parameter"))

    def _read_batch(self, refs: Sequence[SecretRef], until: float) -> dict[SecretRef, Outcome]:
        names = list(dict.fromkeys(_selected(ref) for ref in refs))
        response = self._call(refs[0], "get_parameters", until, Names=names, WithDecryption=True)
        values, invalid = response.get("Parameters"), response.get("InvalidParameters")
        if not isinstance(values, list):
            return dict.fromkeys(refs, damaged())
        outcomes: dict[SecretRef, Outcome] = {}
        for ref in refs:
            name = _selected(ref)
            for value in values:
                selector = value.get("Selector") or ""
                if name in {f"{value.get('Name')}{selector}", f"{value.get('ARN')}{selector}"}:
                    outcomes[ref] = _value(value)
            if name in (invalid or ()):
                outcomes[ref] = refused("ParameterNotFound", "GetParameters")
        return outcomes

    # -- metadata -------------------------------------------------------------------------------------

    def _describe(self, ref: SecretRef, until: float) -> SecretMetadata:
        parameter = self._parameter(ref, until)
        if ref.pinned:
            return SecretMetadata(version=str(parameter.version), updated=parameter.modified, enabled=True)
        listed = self._listed(ref, parameter, until)
        return SecretMetadata(
            version=str(listed.get("Version") or parameter.version),
            updated=parameter.modified,
            expires=_expiration(listed.get("Policies")),
            enabled=True,
        )

    def _parameter(self, ref: SecretRef, until: float) -> _Parameter:
        """The result of a read without the value. A SecureString is not decrypted for it."""
        content = self._call(ref, "get_parameter", until, Name=_selected(ref)).get("Parameter") or {}
        names = ("Name", "Type", "Version", "LastModifiedDate")
        name, kind, version, modified = (content.get(name) for name in names)
        del content
        if not isinstance(name, str) or kind not in _TYPES or not isinstance(version, int):
            raise damaged()
        return _Parameter(name, kind, version, modified if isinstance(modified, datetime) else None)

    def _listed(self, ref: SecretRef, parameter: _Parameter, until: float) -> Mapping[str, Any]:
        """The key, tier and policies, which only a list contains. Pages of a list may be empty."""
        filters = [{"Key": "Name", "Option": "Equals", "Values": [parameter.name]}]
        page: dict[str, Any] = {}
        for _ in range(_PAGES):
            response = self._call(ref, "describe_parameters", until, ParameterFilters=filters, **page)
            for listed in response.get("Parameters") or []:
                if isinstance(listed, dict) and listed.get("Name") == parameter.name:
                    return listed
            if not response.get("NextToken"):
                break
            page = {"NextToken": response["NextToken"]}
        return {}  # a parameter of another account is not listed

    # -- writing --------------------------------------------------------------------------------------

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, until: float) -> str:
        """Add a version of the same type, under the same key."""
        try:
            text = value.reveal().decode()
        except UnicodeDecodeError:
            text = None
        if not text:
            raise InvalidTokenError(
                "the value is not text, and a parameter can hold text only", hint="encode it first"
            )
        del text
        try:
            current = self._parameter(ref, until)
        except Exception as error:
            if is_refusal(error, "GetParameter", {"ParameterNotFound"}):
                raise _no_parameter(ref) from None
            raise
        if expected is not None and expected != str(current.version):
            raise changed_meanwhile("parameter")
        kept = self._kept(ref, current, until)
        text = value.reveal().decode()
        response = self._call(
            ref, "put_parameter", until, Name=current.name, Value=text, Overwrite=True, **kept
        )
        del text
        version = response.get("Version")
        if not isinstance(version, int):
            raise damaged()
        if expected is not None and version != current.version + 1:
            raise BackendUnavailableError(
                f"somebody else changed the parameter at the same time; our version {version} is the newest",
                hint=f"check version {version - 1}",
                outcome_known=True,
            )
        return str(version)

    def _kept(self, ref: SecretRef, current: _Parameter, until: float) -> dict[str, Any]:
        """The properties that a write must repeat. Without a key, AWS would use the account's."""
        listed = self._listed(ref, current, until)
        kept: dict[str, Any] = {"Type": current.kind}
        if current.kind == "SecureString":
            key = listed.get("KeyId")
            if not isinstance(key, str):
                raise AccessDeniedError(
                    "AWS does not list the parameter, so a write would replace its unknown key",
                    hint="write a parameter of another account from within that account",
                )
            kept["KeyId"] = key
        if listed.get("Tier") == "Advanced":
            kept["Tier"] = "Advanced"
        return kept


def _selected(ref: SecretRef) -> str:
    version, label = ref.options.get("version"), ref.options.get("label")
    if version and label:
        raise InvalidRefError("the reference has a version and a label", hint="remove one of them")
    selector = version or label
    return f"{ref.name}:{selector}" if selector else ref.name


def _value(parameter: Any) -> SecretValue | AstroTokenError:
    fields = parameter if isinstance(parameter, dict) else {}
    text, kind, version = fields.get("Value"), fields.get("Type"), fields.get("Version")
    if not isinstance(text, str) or kind not in _TYPES or not isinstance(version, int):
        return damaged()
    return SecretValue(text.encode("utf-8", errors="surrogatepass"), str(version))


def _expiration(policies: Any) -> datetime | None:
    for policy in policies or []:
        try:
            content = json.loads(policy["PolicyText"])
            if content["Type"] == "Expiration":
                return datetime.fromisoformat(content["Attributes"]["Timestamp"])
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _no_parameter(ref: SecretRef) -> SecretNotFoundError:
    region = region_of(ref)
    return SecretNotFoundError(
        "the parameter does not exist, and is not created",
        hint="create it with `aws ssm put-parameter "
        f"--name {ref.name.split(':parameter')[-1]} --type SecureString --value -"
        f"{f' --region {region}' if region else ''}`",
    )
