"""The key/value engine, KV 1 and KV 2."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_token.errors import (
    BackendError,
    ConfigError,
    IntegrityError,
    InvalidTokenError,
    SecretNotFoundError,
    changed_meanwhile,
)
from astro_token.secret import SecretMetadata, SecretValue
from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.connection import translated
from astro_token_backends.vault.refusals import LOOK_AT_ADDRESS, MOUNT_QUESTION, StatusError, needing
from astro_token_backends.vault.service import VaultService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token.secrets.ref import SecretRef

__all__ = ["KeyValue"]

# Vault's own paths, which a namespace has too: team/auth/… is no secret of a mount called team.
_NO_SECRETS_IN = frozenset({"sys", "auth", "identity", "cubbyhole"})


class _Place(NamedTuple):
    """
    A secret, in Vault's terms.

    Attributes:
        mount: without slashes at its ends.
        path: below it.
        kv: "1" or "2".
    """

    mount: str
    path: str
    kv: str

    def api(self, part: str = "data") -> str:
        """As policies name it."""
        return f"{self.mount}/{part}/{self.path}" if self.kv == "2" else f"{self.mount}/{self.path}"

    @property
    def hint(self) -> str:
        if self.path.startswith("data/"):
            return "leave data/ out of the reference: KV 2 adds it by itself, and KV 1 has none"
        above = self.path.rpartition("/")[0]
        return f"`vault kv list {self.mount}{above and '/'}{above}` shows what there is"


class KeyValue(VaultService):
    """
    Secrets of HashiCorp Vault's and OpenBao's key/value engine.

    Reference: `vault:MOUNT/PATH[?version=N&namespace=NS&kv=1|2][#field]`,
    without the `data/` that KV 2 has in its API.
    Which KV a mount is gets asked once; `kv=` saves that request, and then the mount is the first segment.

    Credentials, from the environment: `VAULT_ADDR`, and by `ASTRO_TOKEN_VAULT_AUTH`, or whichever is set,
    `VAULT_TOKEN`; `VAULT_ROLE_ID` with `VAULT_SECRET_ID` or `VAULT_WRAPPED_SECRET_ID`;
    `ASTRO_TOKEN_ID_TOKEN` with `ASTRO_TOKEN_VAULT_ROLE`; a Kubernetes service account; `VAULT_USERNAME` with
    `VAULT_PASSWORD` (`userpass` and `ldap`); `VAULT_CLIENT_CERT` with `VAULT_CLIENT_KEY`;
    a credential of AWS; a Google service account's key, or Google's machine; an Azure managed identity.
    The login is made in `VAULT_NAMESPACE`; a reference's namespace is for its secret only.

    Least permission, for reading (KV 1: without `data/`):

        path "secret/data/astro/prod" { capabilities = ["read"] }

    for writing, and for describing, further:

        path "secret/data/astro/prod"     { capabilities = ["create", "read", "update"] }
        path "secret/metadata/astro/prod" { capabilities = ["read"] }

    KV 1 keeps no versions, and so has no compare-and-set:
    `put` compares what is there right before it writes.

    Args:
        connection: in place of the one that all of the process share.
    """

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return call_sdk(lambda: self._read(*self._find(ref, timeout), ref.options.get("version")), translated)

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return call_sdk(
            lambda: self._describe(*self._find(ref, timeout), ref.options.get("version")), translated
        )

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        """Stores a JSON object as the fields of the secret, and anything else as its field `token`."""
        return call_sdk(
            lambda: self._write(*self._find(ref, timeout), _fields(value), expected_version), translated
        )

    # -- where it is --------------------------------------------------------------------------------

    def _find(self, ref: SecretRef, timeout: float) -> tuple[Any, _Place]:
        namespace = ref.options.get("namespace", "").strip("/") or None
        client = self._connection.client(namespace, timeout)
        mount, _, path = ref.name.partition("/")
        kv = ref.options.get("kv")
        if kv and not _NO_SECRETS_IN.intersection(path.split("/")):
            return client, _Place(mount, path, kv)
        mounts = self._connection.mounts
        known = [
            (mount, kv)
            for (within, mount), kv in list(mounts.items())
            if within == namespace and ref.name.startswith(f"{mount}/")
        ]
        mount, kv = known[0] if known else _ask_for_mount(client, ref.name)
        mounts[namespace, mount] = kv
        return client, _Place(mount, ref.name.removeprefix(f"{mount}/"), kv)

    # -- what is there ------------------------------------------------------------------------------

    def _read(self, client: Any, place: _Place, version: str | None) -> SecretValue:
        engine = client.secrets.kv
        if place.kv == "1" and version:
            raise SecretNotFoundError("KV 1 keeps no versions", hint="leave the version out of the reference")
        with needing(place.api(), "read"), _missing(place, version):
            if place.kv == "1":
                answer = engine.v1.read_secret(place.path, mount_point=place.mount)
            else:
                answer = engine.v2.read_secret_version(
                    place.path, version=version, mount_point=place.mount, raise_on_deleted_version=True
                )
        if place.kv == "1":
            return SecretValue(_json(_map(answer, "data")))
        return SecretValue(
            _json(_map(answer, "data", "data")), _number(answer, "data", "metadata", "version")
        )

    def _describe(self, client: Any, place: _Place, version: str | None) -> SecretMetadata:
        if place.kv == "1":
            self._read(client, place, version)  # that it is there is all that KV 1 can tell
            return SecretMetadata()
        with needing(place.api("metadata"), "read"), _missing(place, version):
            answer = client.secrets.kv.v2.read_secret_metadata(place.path, mount_point=place.mount)
        whole = _map(answer, "data")
        number = version or _number(whole, "current_version")
        one = whole["versions"].get(number) if isinstance(whole.get("versions"), dict) else None
        if not isinstance(one, dict):
            raise SecretNotFoundError(f"the secret has no version {number}", hint="leave the version out")
        expires = _time(one, "deletion_time")
        gone = one.get("destroyed") is True or (expires is not None and expires <= datetime.now(UTC))
        labels = whole.get("custom_metadata")
        return SecretMetadata(
            version=number,
            created=_time(one if version else whole, "created_time"),
            updated=_time(one, "created_time"),
            expires=expires,
            enabled=not gone,
            labels={str(name): str(text) for name, text in labels.items()}
            if isinstance(labels, dict)
            else None,
        )

    def _write(self, client: Any, place: _Place, fields: dict[str, Any], expected_version: str | None) -> str:
        if place.kv == "1":
            return self._write_kv1(client, place, fields, expected_version)
        if expected_version is not None and not expected_version.isdecimal():
            raise changed_meanwhile()
        cas = None if expected_version is None else int(expected_version)
        with needing(place.api(), "create", "update"), _refused_by_cas(cas):
            answer = client.secrets.kv.v2.create_or_update_secret(
                place.path, fields, cas=cas, mount_point=place.mount
            )
        return _number(answer, "data", "version")

    def _write_kv1(
        self, client: Any, place: _Place, fields: dict[str, Any], expected_version: str | None
    ) -> str:
        if expected_version is not None and self._exists(client, place) != (expected_version != "0"):
            raise changed_meanwhile()
        with needing(place.api(), "create", "update"):
            client.secrets.kv.v1.create_or_update_secret(
                place.path, fields, method="POST", mount_point=place.mount
            )
        return ""

    def _exists(self, client: Any, place: _Place) -> bool:
        try:
            self._read(client, place, None)
        except SecretNotFoundError:
            return False
        return True


def _ask_for_mount(client: Any, name: str) -> tuple[str, str]:
    mount, _, path = name.partition("/")
    denied = (
        "the Vault token is no longer valid, or there is no such mount, or it needs a policy with: "
        f'path "{mount}/data/{path}" {{ capabilities = ["read"] }} (KV 1: without data/)'
    )
    try:
        answer = client.adapter.get(f"/v1/{MOUNT_QUESTION}/{name}")
    except StatusError as refused:
        raise refused.translated(denied) from None
    about = _map(answer, "data")
    found = str(about.get("path", "")).strip("/")
    if not found or not f"{name}/".startswith(f"{found}/"):
        raise IntegrityError("the answer names a mount that was not asked for", hint=LOOK_AT_ADDRESS)
    if str(about.get("type")) not in {"kv", "generic"}:
        raise SecretNotFoundError(
            "the reference leads to an engine that is not KV", hint="name a secret of a KV mount"
        )
    if found == name:
        raise SecretNotFoundError(
            "the reference names a mount, and no secret in it", hint="add the path of the secret"
        )
    options = about.get("options")
    kv = str(options.get("version") or "1") if isinstance(options, dict) else "1"
    if kv not in {"1", "2"}:
        raise BackendError("the mount is of a KV version that is not known here", hint="KV 1 and 2 are known")
    return found, kv


@contextmanager
def _missing(place: _Place, version: str | None) -> Iterator[None]:
    """Tells what is missing apart: a secret that never was, a version, or one that was deleted."""
    try:
        yield
    except StatusError as refused:
        if not refused.explained or refused.status != HTTPStatus.NOT_FOUND:
            raise
        missing = _not_found(place, version, refused.content)
    else:
        return
    raise missing


def _not_found(place: _Place, version: str | None, content: Any) -> SecretNotFoundError:
    try:
        last = _number(content, "data", "metadata", "version")
    except IntegrityError:
        what = (
            f"there is no secret there, or it has no version {version}"
            if version
            else "there is no secret there"
        )
        return SecretNotFoundError(what, hint=place.hint)
    destroyed = _map(content, "data", "metadata").get("destroyed") is True
    mend = (
        "write a new one" if destroyed else f"`vault kv undelete -versions={last} {place.mount}/{place.path}`"
    )
    return SecretNotFoundError(
        f"version {last} of it is {'destroyed' if destroyed else 'deleted'}", hint=mend, version=last
    )


@contextmanager
def _refused_by_cas(cas: int | None) -> Iterator[None]:
    try:
        yield
    except StatusError as refused:
        if refused.status != HTTPStatus.BAD_REQUEST or not refused.says("check-and-set"):
            raise
        failure = (
            changed_meanwhile()
            if cas is not None
            else ConfigError(
                "the mount is only written with check-and-set", hint="give the version that is to be replaced"
            )
        )
    else:
        return
    raise failure


# -- between our values and Vault's -------------------------------------------------------------------


def _fields(value: SecretValue) -> dict[str, Any]:
    try:
        text = value.reveal().decode()
    except UnicodeDecodeError:
        raise InvalidTokenError(
            "the value is no text, and KV keeps text only", hint="encode it first"
        ) from None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    return fields if isinstance(fields, dict) else {"token": text}


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", errors="surrogatepass")


def _map(answer: Any, *path: str) -> dict[str, Any]:
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, dict):
        raise IntegrityError("the answer is not what Vault answers to this", hint=LOOK_AT_ADDRESS)
    return answer


def _number(answer: Any, *path: str) -> str:
    number = _map(answer, *path[:-1]).get(path[-1])
    if not isinstance(number, int) or isinstance(number, bool):
        raise IntegrityError("the answer names no version", hint=LOOK_AT_ADDRESS)
    return str(number)


def _time(answer: dict[str, Any], name: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(answer.get(name)))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
