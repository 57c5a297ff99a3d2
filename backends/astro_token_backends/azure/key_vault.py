"""Azure Key Vault secrets, through their client."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from astro_token.errors import InvalidTokenError, changed_meanwhile
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends import network
from astro_token_backends.azure.address import Address
from astro_token_backends.azure.refusals import Asked, asking, translated
from astro_token_backends.azure.service import AzureService
from astro_token_backends.boundary import call_sdk

if TYPE_CHECKING:
    from datetime import datetime

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.azure.login import Login

__all__ = ["KeyVault"]

_LONGEST = 25 * 1024  # bytes, the service's limit
_VERSION = re.compile(r"[0-9a-f]{32}")
_NEEDS = "Microsoft.KeyVault/vaults/secrets/{}/action (role {}), or the access policy {} on secrets"
_GET = _NEEDS.format("getSecret", "Key Vault Secrets User", "Get")
_LIST = _NEEDS.format("readMetadata", "Key Vault Reader", "List")
_SET = _NEEDS.format("setSecret", "Key Vault Secrets Officer", "Set")


class KeyVault(AzureService):
    """
    Reads a version of a secret, the newest unless the reference says otherwise; describes and writes.

    Reference: `azure:VAULT/SECRET[?version=ID]`, or the secret's URL in place of the name.
    A vault's name alone is one of the cloud of `AZURE_AUTHORITY_HOST`.

    Credentials: those of `ways`, shared with `azure-keys`.

    Least permission, as data actions of a role: `Microsoft.KeyVault/vaults/secrets/getSecret/action`
    to read, `…/setSecret/action` too to write, `…/readMetadata/action` alone to describe.

    Requests: 1, and before the first for the login and for the vault's challenge: see docs/azure.md.
    Writing takes 2, because the version is compared, and content type and tags are taken over.

    Args:
        login: in place of the one that all of the process share.
        credential: of the SDK, in place of those in the environment.
    """

    _kind = "secrets"

    def __init__(self, login: Login | None = None, credential: Any = None) -> None:
        import azure.keyvault.secrets  # noqa: F401 (what is not installed has to show here)

        super().__init__(login, credential)

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(ref, timeout), translated)

    def read_current(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        """As `read`, also where the version has expired or is not valid yet, which writing mends."""
        return call_sdk(lambda: self._read(ref, timeout, use=False), translated)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        """
        Lists the versions, because what shows one version shows its value too.

        Of versions of the same second, which the service does not order, it is the one changed last.
        """
        return call_sdk(lambda: self._describe(ref, timeout), translated)

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """
        Adds a version. The one that is current is compared right before, which leaves a moment in between:
        the service has no compare-and-set.

        Content type and tags are kept. The dates of validity are not: they are those of the old token.
        """
        return call_sdk(lambda: self._write(ref, value, expected_version, timeout), translated)

    def _read(self, ref: SecretRef, timeout: float, *, use: bool = True) -> SecretValue:
        address = Address.of(ref, "secrets")
        self._login.wire.begin(timeout)
        with asking(Asked(address, "secret", "get", _GET)):
            secret = self._client(address.host).get_secret(address.name, address.version)
        if use:
            _see_that_it_is_valid(secret.properties)
        return _value(secret)

    def _describe(self, ref: SecretRef, timeout: float) -> SecretMetadata:
        address = Address.of(ref, "secrets")
        asked = Asked(address, "secret", "list", _LIST)
        self._login.wire.begin(timeout)
        with asking(asked):
            versions = list(self._client(address.host).list_properties_of_secret_versions(address.name))
        if address.version is not None:
            versions = [one for one in versions if one.version == address.version]
        if not versions:
            raise asked.missing()
        return _metadata(max(versions, key=_age))

    def _write(self, ref: SecretRef, value: SecretValue, expected: str | None, timeout: float) -> str:
        _see_that_it_fits(value)
        address = Address.of(ref, "secrets")
        self._login.wire.begin(timeout)
        client = self._client(address.host)
        with asking(Asked(address, "secret", "get", _GET)):
            old = client.get_secret(address.name).properties
        if expected is not None and _version(old) != expected:
            raise changed_meanwhile()
        with asking(Asked(address, "secret", "set", _SET)):
            new = client.set_secret(
                address.name, value.reveal().decode(), content_type=old.content_type, tags=old.tags
            )
        return _version(new.properties)

    def _client(self, host: str) -> Any:
        from azure.keyvault.secrets import SecretClient

        clients = self._clients
        if host not in clients:
            clients[host] = SecretClient(f"https://{host}", **self._login.options(host))
        return clients[host]


def _see_that_it_fits(value: SecretValue) -> None:
    """
    Raises:
        InvalidTokenError: it is no text, or too long: the service keeps nothing of the kind.
    """
    fits = len(value.reveal()) <= _LONGEST
    try:
        value.reveal().decode()
    except UnicodeDecodeError:
        fits = False
    if not fits:
        raise InvalidTokenError("the value is no text, or longer than the 25 KB of a secret of Key Vault")


def _age(properties: Any) -> tuple[float, float]:
    return _seconds(properties.created_on, 0), _seconds(properties.updated_on, 0)


def _see_that_it_is_valid(properties: Any) -> None:
    now = time.time()
    # The service hands out both.
    if _seconds(properties.expires_on, now + 1) <= now:
        raise InvalidTokenError(
            "the secret's version has expired, by its own attributes",
            hint="store a new token with `astro-token put`, or change its expiry if the token is still good",
        )
    if _seconds(properties.not_before, now) > now:
        raise InvalidTokenError(
            "the secret's version is not valid yet, by its own attributes",
            hint="wait, or name an older version by ?version=",
        )


def _value(secret: Any) -> SecretValue:
    version = _version(secret.properties)
    if not isinstance(secret.value, str):
        raise network.damaged()
    return SecretValue(secret.value.encode("utf-8", errors="surrogatepass"), version)


def _seconds(moment: datetime | None, otherwise: float) -> float:
    if moment is None:
        return otherwise
    if not hasattr(moment, "timestamp"):
        raise network.damaged()
    return moment.timestamp()


def _version(properties: Any) -> str:
    version = properties.version
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise network.damaged()
    return version


def _metadata(properties: Any) -> SecretMetadata:
    moments = {
        name: getattr(properties, f"{kind}_on")
        for name, kind in (("created", "created"), ("updated", "updated"), ("expires", "expires"))
    }
    for moment in moments.values():
        _seconds(moment, 0)
    tags = properties.tags or {}
    if not isinstance(tags, dict) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise network.damaged()
    return SecretMetadata(_version(properties), enabled=properties.enabled, labels=dict(tags), **moments)
