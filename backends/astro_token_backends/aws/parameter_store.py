"""Parameter Store of AWS Systems Manager: `aws-ssm:PARAMETER`, through botocore, the core of boto3."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
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
    result,
)
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

__all__ = ["ParameterStore"]

_BATCH = 10
_PAGES = 20
_TYPES = {"String", "StringList", "SecureString"}


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    kind: str
    version: int
    modified: datetime | None


class ParameterStore(AwsService):
    """
    Parameters of Parameter Store: SecureString, decrypted; String; StringList, as the one text that it is.

    Reference: `aws-ssm:PARAMETER-or-ARN[?region=R&version=N|label=L][#field]`.

    Credentials: those of `aws`.

    Permissions on the parameter: `ssm:GetParameter`, and `kms:Decrypt` where it has a key of its own;
    to describe `ssm:DescribeParameters` on `*`; to write all of these, `ssm:PutParameter` and `kms:Encrypt`.
    Several are read at once with `ssm:GetParameters`, and one by one without it.

    Parameter Store has no compare-and-set: the version is compared right before the write,
    and again with the version that the write was given.
    If somebody came in between, theirs is replaced, stays in the history, and is named in the error.

    Requests: 1 with keys from the environment, 2 with the CI system's identity.

    Args:
        client: one of the SDK's, for all regions.
        session: in place of the one that all of the process share.
    """

    _service = "ssm"

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
            lambda ref: (region_of(ref),),
            lambda some: self._read_batch(some, until),
            lambda ref: self._read(ref, until),
        )

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        until = time.monotonic() + timeout
        return call_sdk(lambda: self._describe(ref, until), translated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """Adds a version of the same type, under the same key."""
        until = time.monotonic() + timeout
        return call_sdk(lambda: self._write(ref, value, expected_version, until), translated)

    def _ask(self, ref: SecretRef, operation: str, until: float, **arguments: Any) -> Any:
        return self._session.call("ssm", operation, arguments, region=region_of(ref), until=until)

    def _read(self, ref: SecretRef, until: float) -> SecretValue:
        answer = self._ask(ref, "get_parameter", until, Name=_selected(ref), WithDecryption=True)
        return result(_value(answer.get("Parameter")))

    def _read_batch(
        self, refs: Sequence[SecretRef], until: float
    ) -> dict[SecretRef, SecretValue | AstroTokenError]:
        names = list(dict.fromkeys(_selected(ref) for ref in refs))
        answer = self._ask(refs[0], "get_parameters", until, Names=names, WithDecryption=True)
        values, invalid = answer.get("Parameters"), answer.get("InvalidParameters")
        if not isinstance(values, list):
            return dict.fromkeys(refs, network.damaged())
        found: dict[SecretRef, SecretValue | AstroTokenError] = {}
        for ref in refs:
            asked = _selected(ref)
            for one in values:
                selector = one.get("Selector") or ""
                if asked in {f"{one.get('Name')}{selector}", f"{one.get('ARN')}{selector}"}:
                    found[ref] = _value(one)
            if asked in (invalid or ()):
                found[ref] = refused("ParameterNotFound", "GetParameters")
        return found

    # -- what is told without the value ---------------------------------------------------------------

    def _describe(self, ref: SecretRef, until: float) -> SecretMetadata:
        now = self._look(ref, until)
        if ref.pinned:
            return SecretMetadata(version=str(now.version), updated=now.modified, enabled=True)
        more = self._listed(ref, now, until)
        return SecretMetadata(
            version=str(more.get("Version") or now.version),
            updated=now.modified,
            expires=_expiration(more.get("Policies")),
            enabled=True,
        )

    def _look(self, ref: SecretRef, until: float) -> _Parameter:
        """What a read tells besides the value, which stays encrypted where it is, and is dropped."""
        one = self._ask(ref, "get_parameter", until, Name=_selected(ref)).get("Parameter")
        about = (
            {name: one.get(name) for name in ("Name", "Type", "Version", "LastModifiedDate")} if one else {}
        )
        del one
        name, kind, version, modified = about.values() if about else (None,) * 4
        if not isinstance(name, str) or kind not in _TYPES or not isinstance(version, int):
            raise network.damaged()
        return _Parameter(name, kind, version, modified if isinstance(modified, datetime) else None)

    def _listed(self, ref: SecretRef, parameter: _Parameter, until: float) -> Mapping[str, Any]:
        """Its key, its tier and its policies, which only a list tells; pages of a list may be empty."""
        only = {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [parameter.name]}]}
        page: dict[str, Any] = {}
        for _ in range(_PAGES):
            answer = self._ask(ref, "describe_parameters", until, **only, **page)
            for one in answer.get("Parameters") or []:
                if isinstance(one, dict) and one.get("Name") == parameter.name:
                    return one
            if not answer.get("NextToken"):
                break
            page = {"NextToken": answer["NextToken"]}
        return {}  # one of another account is not listed

    # -- writing --------------------------------------------------------------------------------------

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, until: float) -> str:
        try:
            text = value.reveal().decode()
        except UnicodeDecodeError:
            text = None
        if not text:
            raise InvalidTokenError(
                "the value is no text, and a parameter keeps text only", hint="encode it first"
            )
        del text
        try:
            now = self._look(ref, until)
        except Exception as error:
            if (
                getattr(error, "operation_name", "") == "GetParameter"
                and code_of(error) == "ParameterNotFound"
            ):
                raise _no_parameter(ref) from None
            raise
        if expected is not None and expected != str(now.version):
            raise changed_meanwhile("parameter")
        kept = self._kept(ref, now, until)
        answer = self._ask(
            ref,
            "put_parameter",
            until,
            Name=now.name,
            Value=value.reveal().decode(),
            Overwrite=True,
            **kept,
        )
        version = answer.get("Version")
        if not isinstance(version, int):
            raise network.damaged()
        if expected is not None and version != now.version + 1:
            raise BackendUnavailableError(
                f"somebody else changed the parameter at the same time; our version {version} is the newest",
                hint=f"check version {version - 1}",
                known=True,
            )
        return str(version)

    def _kept(self, ref: SecretRef, now: _Parameter, until: float) -> dict[str, str]:
        """What a write has to say so that it stays: without a key, AWS would take the account's."""
        listed = self._listed(ref, now, until)
        kept = {"Type": now.kind}
        if now.kind == "SecureString":
            key = listed.get("KeyId")
            if not isinstance(key, str):
                raise AccessDeniedError(
                    "AWS does not list the parameter, so its key is not known, and would be lost by a write",
                    hint="a parameter of another account can be read and not written: write it in its own",
                )
            kept["KeyId"] = key
        if listed.get("Tier") == "Advanced":
            kept["Tier"] = "Advanced"
        return kept


def _selected(ref: SecretRef) -> str:
    version, label = ref.options.get("version"), ref.options.get("label")
    if version and label:
        raise InvalidRefError("version and label are both given", hint="leave one of them out")
    selector = version or label
    return f"{ref.name}:{selector}" if selector else ref.name


def _value(one: Any) -> SecretValue | AstroTokenError:
    one = one if isinstance(one, dict) else {}
    text, kind, version = one.get("Value"), one.get("Type"), one.get("Version")
    if not isinstance(text, str) or kind not in _TYPES or not isinstance(version, int):
        return network.damaged()
    return SecretValue(text.encode("utf-8", errors="surrogatepass"), str(version))


def _expiration(policies: Any) -> datetime | None:
    for policy in policies or []:
        try:
            said = json.loads(policy["PolicyText"])
            if said["Type"] == "Expiration":
                return datetime.fromisoformat(said["Attributes"]["Timestamp"])
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _no_parameter(ref: SecretRef) -> SecretNotFoundError:
    region = region_of(ref)
    return SecretNotFoundError(
        "there is no such parameter, and none is made",
        hint=f"`aws ssm put-parameter --name {ref.name.split(':parameter')[-1]} --type SecureString --value -"
        f"{f' --region {region}' if region else ''}` makes it",
    )
