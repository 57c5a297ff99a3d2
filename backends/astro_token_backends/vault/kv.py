"""The key/value engine, KV 1 and KV 2."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from astro_token.errors import (
    BackendError,
    ConfigError,
    IntegrityError,
    InvalidTokenError,
    SecretNotFoundError,
    UnusableSecretError,
    changed_meanwhile,
)
from astro_token.record import Record
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.client import VaultService, namespace_of
from astro_token_backends.vault.errors import (
    StatusError,
    denied,
    policy_hint,
    requiring,
    translated,
    unexpected,
)
from astro_token_backends.vault.settings import path_setting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from astro_token.secrets.ref import SecretRef

__all__ = ["KeyValue", "canonical"]

# Vault's own paths, which a namespace has too: team/auth/… is not a secret of a mount called team.
_RESERVED = frozenset({"sys", "auth", "identity", "cubbyhole"})


class _Location(Record):
    """
    The location of a secret, in Vault's terms.

    Attributes:
        mount: without slashes at its ends.
        path: below the mount.
        kv: "1" or "2".
    """

    mount: str
    path: str
    kv: str

    def api_path(self, part: str = "data") -> str:
        """The path that policies name."""
        return f"{self.mount}/{part}/{self.path}" if self.kv == "2" else f"{self.mount}/{self.path}"

    @property
    def hint(self) -> str:
        if self.path.startswith("data/"):
            return "remove data/ from the reference: it belongs to the API of KV 2, not to the path"
        folder = self.path.rpartition("/")[0]
        return f"list the secrets with `vault kv list {self.mount}{folder and '/'}{folder}`"


def canonical(ref: SecretRef) -> str:
    """The namespace may stand in front of the mount, and `kv` only saves a request."""
    namespace = namespace_of(ref) or path_setting(os.environ, "VAULT_NAMESPACE")
    return f"{namespace}/{ref.name}" if namespace else ref.name


class KeyValue(VaultService):
    """
    Secrets of HashiCorp Vault's and OpenBao's key/value engine.

    Reference: `vault:MOUNT/PATH[?version=N&namespace=NS&kv=1|2][#field]`,
    without the `data/` that KV 2 has in its API.
    The KV version of a mount is requested once; `kv=` saves that request, and the mount is the first segment.

    Credentials, from the environment: `VAULT_ADDR`, and by `ASTRO_TOKEN_VAULT_AUTH`, or whichever is set,
    `VAULT_TOKEN`; `VAULT_ROLE_ID` with `VAULT_SECRET_ID` or `VAULT_WRAPPED_SECRET_ID`;
    `ASTRO_TOKEN_ID_TOKEN` with `ASTRO_TOKEN_VAULT_ROLE`; a Kubernetes service account; `VAULT_USERNAME` with
    `VAULT_PASSWORD` (`userpass` and `ldap`); `VAULT_CLIENT_CERT` with `VAULT_CLIENT_KEY`;
    a credential of AWS; a Google service account's key or machine; an Azure managed identity.
    The login is made in `VAULT_NAMESPACE`; the namespace of a reference is for its secret only.

    Least permissions for reading (KV 1: without `data/`):

        path "secret/data/astro/prod" { capabilities = ["read"] }

    and for writing and describing:

        path "secret/data/astro/prod"     { capabilities = ["create", "read", "update"] }
        path "secret/metadata/astro/prod" { capabilities = ["read"] }

    KV 1 has no versions, so it has no compare-and-set:
    `write` checks whether the secret exists immediately before it writes.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: _read(*self._locate(ref, timeout), ref.options.get("version")), translated)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return call_sdk(
            lambda: _describe(*self._locate(ref, timeout), ref.options.get("version")), translated
        )

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """Store a JSON object as the fields of the secret, and anything else as its field `token`."""
        return call_sdk(
            lambda: _write(*self._locate(ref, timeout), _fields(value), expected_version), translated
        )

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:
        """Request the token's capabilities. Vault's default policy allows that request."""
        call_sdk(lambda: _check_write(*self._locate(ref, timeout)), translated)

    def _locate(self, ref: SecretRef, timeout: float) -> tuple[Any, _Location]:
        adapter = self._adapter(ref, timeout)
        namespace = adapter.namespace
        mount, _, path = ref.name.partition("/")
        kv = ref.options.get("kv")
        if kv and not _RESERVED.intersection(path.split("/")):
            return adapter, _Location(mount, path, kv)
        mounts = self._client.kv_mounts
        seen = [
            (mount, kv)
            for (within, mount), kv in list(mounts.items())
            if within == namespace and ref.name.startswith(f"{mount}/")
        ]
        mount, kv = seen[0] if seen else self._detect_mount(adapter, ref.name)
        mounts[namespace, mount] = kv
        return adapter, _Location(mount, ref.name.removeprefix(f"{mount}/"), kv)

    def _detect_mount(self, adapter: Any, name: str) -> tuple[str, str]:
        mount, _, path = name.partition("/")
        try:
            details = self._client.mount(adapter, quote(name))
        except StatusError as refused:
            raise refused.translated(
                "check the mount; or add to the token's policy: "
                f'path "{mount}/data/{path}" {{ capabilities = ["read"] }} (KV 1: without data/)'
            ) from None
        mount = str(details.get("path", "")).strip("/")
        if not mount or not f"{name}/".startswith(f"{mount}/"):
            raise unexpected()
        if str(details.get("type")) not in {"kv", "generic"}:
            raise UnusableSecretError(
                "the reference leads to an engine that is not KV", hint="name a secret of a KV mount"
            )
        if mount == name:
            raise UnusableSecretError(
                "the reference names a mount, not a secret in it", hint="add the path of the secret"
            )
        options = details.get("options")
        kv = str(options.get("version") or "1") if isinstance(options, dict) else "1"
        if kv not in {"1", "2"}:
            raise BackendError("the mount has an unknown KV version", hint="use a mount of KV 1 or 2")
        return mount, kv


def _read(adapter: Any, location: _Location, version: str | None) -> SecretValue:
    if location.kv == "1" and version:
        raise UnusableSecretError("KV 1 has no versions", hint="remove the version from the reference")
    with requiring(location.api_path(), "read"), _explaining_404(location, version):
        if location.kv == "1":
            content = _engine(adapter, "1").read_secret(location.path, mount_point=location.mount)
            return SecretValue(_json(_object(content, "data")))
        content = _engine(adapter, "2").read_secret_version(
            location.path, version=version, mount_point=location.mount, raise_on_deleted_version=True
        )
    return SecretValue(
        _json(_object(content, "data", "data")), _number(content, "data", "metadata", "version")
    )


def _describe(adapter: Any, location: _Location, version: str | None) -> SecretMetadata:
    if location.kv == "1":
        _read(adapter, location, version)  # KV 1 stores nothing that describes a secret
        return SecretMetadata()
    with requiring(location.api_path("metadata"), "read"), _explaining_404(location, version):
        content = _engine(adapter, "2").read_secret_metadata(location.path, mount_point=location.mount)
    from datetime import UTC, datetime

    metadata = _object(content, "data")
    number = version or _number(metadata, "current_version")
    versions = metadata.get("versions")
    details = versions.get(number) if isinstance(versions, dict) else None
    if not isinstance(details, dict):
        raise SecretNotFoundError(
            f"the secret has no version {number}", hint="remove the version from the reference"
        )
    expires = _time(details, "deletion_time")
    is_deleted = expires is not None and expires <= datetime.now(UTC)
    labels = metadata.get("custom_metadata")
    return SecretMetadata(
        version=number,
        created=_time(details if version else metadata, "created_time"),
        updated=_time(details, "created_time"),
        expires=expires,
        enabled=not is_deleted and details.get("destroyed") is not True,
        labels={str(name): str(text) for name, text in labels.items()} if isinstance(labels, dict) else None,
    )


def _write(adapter: Any, location: _Location, fields: dict[str, Any], expected_version: str | None) -> str:
    if location.kv == "1":
        if expected_version is not None and _exists(adapter, location) != (expected_version != "0"):
            raise changed_meanwhile()
        with requiring(location.api_path(), "create", "update"):
            _engine(adapter, "1").create_or_update_secret(
                location.path, fields, method="POST", mount_point=location.mount
            )
        return ""
    if expected_version is not None and not expected_version.isdecimal():
        raise changed_meanwhile()
    cas = None if expected_version is None else int(expected_version)
    with requiring(location.api_path(), "create", "update"), _explaining_cas(cas):
        content = _engine(adapter, "2").create_or_update_secret(
            location.path, fields, cas=cas, mount_point=location.mount
        )
    return _number(content, "data", "version")


def _check_write(adapter: Any, location: _Location) -> None:
    path = location.api_path()
    adapter.renew, adapter.repeatable = None, True
    try:
        content = adapter.post("/v1/sys/capabilities-self", json={"paths": [path]})
    except StatusError:  # the write will show it
        return
    capabilities = _object(content, "data").get(path)
    if isinstance(capabilities, list) and not any(
        name in capabilities for name in ("create", "update", "root")
    ):
        raise denied(policy_hint(path, "create", "update"))


def _exists(adapter: Any, location: _Location) -> bool:
    try:
        _read(adapter, location, None)
    except SecretNotFoundError:
        return False
    return True


def _engine(adapter: Any, kv: str) -> Any:
    return adapter.api(f"secrets_engines.kv_v{kv}:KvV{kv}")


@contextmanager
def _explaining_404(location: _Location, version: str | None) -> Iterator[None]:
    """Distinguish a secret that never existed, a missing version, and one that was deleted."""
    try:
        yield
    except StatusError as refused:
        if not refused.is_explained or refused.status != HTTPStatus.NOT_FOUND:
            raise
        missing = _not_found(location, version, refused.content)
    else:
        return
    raise missing


def _not_found(location: _Location, version: str | None, content: Any) -> SecretNotFoundError:
    try:
        last = _number(content, "data", "metadata", "version")
    except IntegrityError:
        problem = "the secret does not exist"
        return SecretNotFoundError(
            f"{problem}, or has no version {version}" if version else problem, hint=location.hint
        )
    if _object(content, "data", "metadata").get("destroyed") is True:
        state, hint = "destroyed", "write a new version"
    else:
        state = "deleted"
        hint = f"restore it with `vault kv undelete -versions={last} {location.mount}/{location.path}`"
    return UnusableSecretError(f"version {last} of the secret is {state}", hint=hint, version=last)


@contextmanager
def _explaining_cas(cas: int | None) -> Iterator[None]:
    try:
        yield
    except StatusError as refused:
        if refused.status != HTTPStatus.BAD_REQUEST or not refused.says("check-and-set"):
            raise
    else:
        return
    if cas is not None:
        raise changed_meanwhile()
    raise ConfigError("the mount requires check-and-set", hint="pass the version that is to be replaced")


# -- between our values and Vault's -------------------------------------------------------------------


def _fields(value: SecretValue) -> dict[str, Any]:
    try:
        text = value.reveal().decode()
    except UnicodeDecodeError:
        raise InvalidTokenError(
            "the value is not UTF-8 text, and KV stores text only", hint="encode it first"
        ) from None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    return fields if isinstance(fields, dict) else {"token": text}


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", errors="surrogatepass")


def _object(content: Any, *path: str) -> dict[str, Any]:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise unexpected()
    return content


def _number(content: Any, *path: str) -> str:
    number = _object(content, *path[:-1]).get(path[-1])
    if not isinstance(number, int) or isinstance(number, bool):
        raise unexpected()
    return str(number)


def _time(content: dict[str, Any], name: str) -> datetime | None:
    from datetime import UTC, datetime

    try:
        time = datetime.fromisoformat(str(content.get(name)))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
