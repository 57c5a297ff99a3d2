"""Azure Key Vault secrets."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import InvalidTokenError, changed_meanwhile
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.azure.client import AzureService
from astro_token_backends.azure.errors import Operation, damaged, translated
from astro_token_backends.azure.settings import ObjectId
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from datetime import datetime

    from astro_token.secrets.ref import SecretRef

__all__ = ["KeyVault", "canonical"]

_LONGEST = 25 * 1024  # bytes, the service's limit
_PERMISSION = "Microsoft.KeyVault/vaults/secrets/{}/action (role {}), or the access policy {} on secrets"
_GET = _PERMISSION.format("getSecret", "Key Vault Secrets User", "Get")
_LIST = _PERMISSION.format("readMetadata", "Key Vault Reader", "List")
_SET = _PERMISSION.format("setSecret", "Key Vault Secrets Officer", "Set")


def canonical(ref: SecretRef) -> str:
    """The service ignores the case of names."""
    target = ObjectId.parse(ref, "secrets")
    return f"https://{target.host}/secrets/{target.name.lower()}"


class KeyVault(AzureService):
    """
    Secrets of Azure Key Vault: read the newest version or the one of the reference, describe, write.

    Reference: `azure:VAULT/SECRET[?version=ID]`, or the secret's URL in place of the name.
    A vault's name without a domain belongs to the cloud of `AZURE_AUTHORITY_HOST`.

    `credential_chain` lists the credentials; docs/azure.md has the permissions and the number of requests.
    """

    _kind = "secrets"
    _client_name = "SecretClient"

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(ref, timeout), translated)

    def read_current(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        """Read a secret even if its version has expired or is not valid yet: a write will replace it."""
        return call_sdk(lambda: self._read(ref, timeout, valid_only=False), translated)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        """
        List the versions, because a request for a single version returns its value too.

        The service does not order versions of the same second: the last changed one is described.
        """
        return call_sdk(lambda: self._describe(ref, timeout), translated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """
        Add a version. Content type and tags are kept; the validity period belongs to the old token.

        The service has no compare-and-set: the current version is compared right before the write.
        Ours replaces a version that another client adds in between.
        """
        return call_sdk(lambda: self._write(ref, value, expected_version, timeout), translated)

    def _read(self, ref: SecretRef, timeout: float, *, valid_only: bool = True) -> SecretValue:
        target = self._begin(ref, timeout)
        with _operation(target, "get", _GET).translating():
            secret = self._client(target.host).get_secret(target.name, target.version)
        if valid_only:
            _check_validity(secret.properties)
        version = _version(secret.properties)
        if not isinstance(secret.value, str):
            raise damaged()
        return SecretValue(secret.value.encode("utf-8", errors="surrogatepass"), version)

    def _describe(self, ref: SecretRef, timeout: float) -> SecretMetadata:
        target = self._begin(ref, timeout)
        operation = _operation(target, "list", _LIST)
        with operation.translating():
            versions = list(self._client(target.host).list_properties_of_secret_versions(target.name))
        if target.version is not None:
            versions = [version for version in versions if version.version == target.version]
        if not versions:
            raise operation.missing()
        return _metadata(max(versions, key=_age))

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, timeout: float) -> str:
        data = value.reveal()
        text = data.decode(errors="ignore")
        if len(data) > _LONGEST or text.encode() != data:
            raise InvalidTokenError("the value is not text, or larger than 25 KB, the limit of Key Vault")
        target = self._begin(ref, timeout)
        client = self._client(target.host)
        with _operation(target, "get", _GET).translating():
            old = client.get_secret(target.name).properties
        if expected is not None and _version(old) != expected:
            raise changed_meanwhile()
        with _operation(target, "set", _SET).translating():
            new = client.set_secret(target.name, text, content_type=old.content_type, tags=old.tags)
        return _version(new.properties)


def _operation(target: ObjectId, verb: str, permission: str) -> Operation:
    return Operation(target, "secret", verb, permission)


def _check_validity(properties: Any) -> None:
    """Refuse a version outside its validity period, which the service returns all the same."""
    now = time.time()
    if _seconds(properties.expires_on, now + 1) <= now:
        raise InvalidTokenError(
            "the secret's version has expired, by its own attributes",
            hint="store a new token with `astro-token put`, or change the expiry if the token is still valid",
        )
    if _seconds(properties.not_before, now) > now:
        raise InvalidTokenError(
            "the secret's version is not valid yet, by its own attributes",
            hint="wait, or name an older version with ?version=",
        )


def _age(properties: Any) -> tuple[float, float]:
    return _seconds(properties.created_on, 0), _seconds(properties.updated_on, 0)


def _seconds(moment: datetime | None, default: float) -> float:
    if moment is None:
        return default
    if not hasattr(moment, "timestamp"):
        raise damaged()
    return moment.timestamp()


def _version(properties: Any) -> str:
    version = properties.version
    if not isinstance(version, str) or not re.fullmatch(r"[0-9a-f]{32}", version):
        raise damaged()
    return version


def _metadata(properties: Any) -> SecretMetadata:
    times = {name: getattr(properties, f"{name}_on") for name in ("created", "updated", "expires")}
    for moment in times.values():
        _seconds(moment, 0)
    tags = properties.tags or {}
    if not isinstance(tags, dict) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise damaged()
    return SecretMetadata(_version(properties), enabled=properties.enabled, labels=dict(tags), **times)
