"""
A strict Azure Key Vault (secrets and keys), with its Microsoft Entra ID and managed identity.

    with AzureServer(certificates.server.context()) as azure:
        azure.put("api", "…")
        SecretClient(azure.url, credential_with(authority=azure.url), verify_challenge_resource=False)

The vault and Entra share one https address; managed identity has a plain one, as it has on a machine.
The vault refuses what the service refuses: no api-version or an unknown one, no bearer (with a challenge),
a bearer that is unknown, expired or for another audience, a right that the client was not granted,
a disabled version, a name that is malformed, deleted or not there.
For the others see `azure_login` and `azure_keys`.

As in the service, a version outside its validity is served: its attributes are for the client to look at.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.azure_keys import KeyRefusedError, Keys, KeyVersion
from tests.servers.azure_login import FEDERATED, VAULT, Directory, Token
from tests.servers.http1 import Answer, HttpServer, Reply, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tests.servers.jwks import Issuer

_API_VERSION = re.compile(r"7\.[0-6]|20(?:2[5-9]|3\d)-\d\d-\d\d(?:-preview)?")
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_LONGEST = 25_600
_RIGHTS = frozenset({"get", "list", "set", "delete", "recover", "purge", "wrapkey", "unwrapkey"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What meets the next request in place of the service, with the body that the service's errors have."""

    status: int
    code: str = "Fault"
    message: str = "a fault"
    headers: Mapping[str, str] = field(default_factory=dict)
    inner: str | None = None

    def encode(self, method: str) -> bytes:
        return _error(self.status, self.code, self.message, self.headers, self.inner).encode(method)


def _is_vault(request: Request) -> bool:
    return request.path.startswith(("/secrets", "/deletedsecrets", "/keys"))


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class AzureServer(HttpServer):
    """
    Args:
        tls: of the vault and Entra.
        resource: whose tokens the vault takes, and what its challenge names.

    Attributes:
        url: of the vault, and the authority of Entra.
        port: of both.
        directory: Entra and managed identity.
        tenant: the only one.
        client_id: an application, with all rights to the vault.
        client_secret: its secret.
        identity_url: managed identity, as a virtual machine has it, for `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
        identity_endpoint: managed identity, as App Service has it, for `IDENTITY_ENDPOINT`.
        identity_header: for `IDENTITY_HEADER`.
        machine_id: the client id of the machine's identity.
        authority: what the challenge names as the place to log in.
        faults: taken one by each request to the vault, the one without a bearer included.
        login_faults: taken one by each request to Entra or managed identity.
        requests: to the vault and Entra.
        identity_requests: to managed identity.
    """

    def __init__(self, tls: ssl.SSLContext, *, resource: str = VAULT) -> None:
        self.directory = Directory(resource)
        self.tenant = self.directory.tenant
        self.client_id = self.directory.client_id
        self.client_secret = self.directory.client_secret
        self.machine_id = self.directory.machine_id
        self.identity_header = self.directory.identity_header
        self.resource = resource
        self._rights: dict[str, frozenset[str]] = {}
        self._secrets: dict[str, list[dict[str, Any]]] = {}  # of each name its versions, oldest first
        self._deleted: dict[str, list[dict[str, Any]]] = {}
        self._keys = Keys()
        self._lock = threading.RLock()
        self._identity = HttpServer(self._managed_identity)
        self.identity_url, self.identity_requests = self._identity.url, self._identity.requests
        self.identity_endpoint = f"{self.identity_url}/msi/token"
        self.login_faults = self._identity.faults
        super().__init__(self._answer, tls=tls)
        self.authority = self.url

    # -- for tests ---------------------------------------------------------------------------

    def put(self, name: str, value: str, **attributes: bool | int) -> str:
        """
        Adds a version and returns its name.

        Args:
            name: of the secret.
            value: of the version.
            attributes: `enabled`, and `nbf` and `exp` in seconds since the epoch.
        """
        with self._lock:
            return str(self._add(self.url, name, {"value": value, "attributes": attributes})["id"])[-32:]

    def put_with(self, name: str, asked: dict[str, Any]) -> str:
        """Adds a version with all that a client can give it: `value`, `attributes`, `contentType`, `tags`."""
        with self._lock:
            return str(self._add(self.url, name, asked)["id"])[-32:]

    def versions(self, name: str) -> list[dict[str, Any]]:
        """The versions of a secret, the oldest first."""
        with self._lock:
            return list(self._secrets.get(name, []))

    def delete(self, name: str) -> None:
        """Deletes a secret; its name stays taken until it is purged."""
        with self._lock:
            self._deleted[name] = self._secrets.pop(name)

    def put_key(
        self,
        name: str,
        *,
        operations: tuple[str, ...] = ("wrapKey", "unwrapKey"),
        bits: int = 2048,
        **attributes: bool | int,
    ) -> KeyVersion:
        """Adds a version of an RSA key; for the attributes see `put`."""
        with self._lock:
            return self._keys.put(name, operations=operations, bits=bits, attributes=dict(attributes))

    def issue(self, *, audience: str | None = None, client: str | None = None, lifetime: float = 3599) -> str:
        """An access token; for another audience, or one that has expired, if asked for."""
        return self.directory.issue(
            audience or self.resource,
            client or self.directory.client_id,
            lifetime,
        )

    def trust(self, issuer: Issuer, *, subject: str, audience: str = FEDERATED) -> None:
        """Accepts an issuer's tokens for one subject in place of the client's secret."""
        self.directory.trust(issuer, subject, audience)

    def restrict(self, client: str, *rights: str) -> None:
        """Leaves a client these rights to the vault, `get` for instance; without this it has all."""
        self._rights[client] = frozenset(rights)

    def forget(self) -> None:
        """Drops what was requested, faults that nobody met, and restrictions; the secrets stay."""
        super().forget()
        self._identity.forget()
        self._rights.clear()

    def close(self, grace: float = 0.0) -> None:
        super().close(grace)
        self._identity.close(grace)

    def next_fault(self, request: Request) -> Reply | None:
        return super().next_fault(request) if _is_vault(request) else self._identity.next_fault(request)

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            if not _is_vault(request):
                return self.directory.entra(request)
            try:
                return self._vault(request)
            except _RefusedError as refused:
                return refused.answer

    def _managed_identity(self, request: Request) -> Answer:
        with self._lock:
            return self.directory.managed_identity(request)

    # -- Key Vault ---------------------------------------------------------------------------

    def _vault(self, request: Request) -> Answer:
        token = self._authenticate(request)
        version = request.query.get("api-version")
        if version is None:
            return _error(400, "BadParameter", "The query parameter 'api-version' is missing.")
        if not _API_VERSION.fullmatch(version):
            return _error(400, "BadParameter", f"The specified version ({version}) is not recognized.")
        base = f"https://{request.headers.get('host', '')}"
        parts = request.path.strip("/").split("/")
        if len(parts) < 2 or not _NAME.fullmatch(parts[1]):
            return _error(400, "BadParameter", "The request URI contains an invalid name.")
        match request.method, *parts:
            case _, "keys", name, version, operation:
                self._permit(token, operation)
                try:
                    return self._keys.answer(base, name, version, operation, request)
                except KeyRefusedError as refused:
                    status, code, text, inner = refused.answer
                    return _error(status, code, text, inner=inner)
            case "GET", "secrets", name, "versions":
                self._permit(token, "list")
                return self._list_versions(base, name, request.query)
            case "GET", "secrets", name, *which if len(which) < 2:
                self._permit(token, "get")
                return Answer.json(self._get(name, which[0] if which else ""))
            case "PUT", "secrets", name:
                self._permit(token, "set")
                return Answer.json(self._set(base, name, request))
            case "DELETE", "secrets", name:
                self._permit(token, "delete")
                self._find(name)
                self._deleted[name] = self._secrets.pop(name)
                return Answer.json(self._deleted_answer(base, name))
            case "GET", "deletedsecrets", name if name in self._deleted:
                self._permit(token, "get")
                return Answer.json(self._deleted_answer(base, name))
            case "POST", "deletedsecrets", name, "recover" if name in self._deleted:
                self._permit(token, "recover")
                self._secrets[name] = self._deleted.pop(name)
                return Answer.json(_without_value(self._secrets[name][-1]))
            case "DELETE", "deletedsecrets", name if name in self._deleted:
                self._permit(token, "purge")
                del self._deleted[name]
                return Answer(204)
            case _, "deletedsecrets", *_:
                return _error(404, "SecretNotFound", "Deleted Secret not found.")
        return _error(405, "MethodNotAllowed", "The requested method is not allowed.")

    def _authenticate(self, request: Request) -> Token:
        token = self.directory.token(request.bearer)
        if token and token.audience == self.resource and time.time() < token.end:
            return token
        challenge = f'Bearer authorization="{self.authority}/{self.tenant}", resource="{self.resource}"'
        text = "AKV10000: Request is missing a Bearer or PoP token."
        if request.bearer:
            text = "AKV10022: Invalid audience." if token else "AKV10032: Invalid issuer."
            if token and token.audience == self.resource:
                text = "AKV10034: The token is expired."
            challenge += f', error="invalid_token", error_description="{text}"'
        raise _RefusedError(_error(401, "Unauthorized", text, {"WWW-Authenticate": challenge}))

    def _permit(self, token: Token, right: str) -> None:
        if right not in self._rights.get(token.client, _RIGHTS):
            text = "Caller is not authorized to perform action on resource."
            raise _RefusedError(_error(403, "Forbidden", text, inner="ForbiddenByRbac"))

    def _find(self, name: str) -> list[dict[str, Any]]:
        if name not in self._secrets:
            raise _RefusedError(_not_found(name))
        return self._secrets[name]

    def _get(self, name: str, which: str) -> dict[str, Any]:
        found = [one for one in self._find(name) if not which or one["id"].endswith(f"/{which}")]
        if not found:
            raise _RefusedError(_not_found(f"{name}/{which}"))
        if not found[-1]["attributes"]["enabled"]:
            # Of the latest version too: there is no falling back to an older one.
            text = "Operation get is not allowed on a disabled secret."
            raise _RefusedError(_error(403, "Forbidden", text, inner="SecretDisabled"))
        return found[-1]

    def _set(self, base: str, name: str, request: Request) -> dict[str, Any]:
        try:
            asked = json.loads(request.body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("value"), str):
            raise _RefusedError(_error(400, "BadParameter", "Property 'value' is missing or invalid."))
        if len(asked["value"].encode()) > _LONGEST:
            raise _RefusedError(_error(400, "BadParameter", "The secret value is too long."))
        if name in self._deleted:
            text = f"Secret {name} is currently in a deleted but recoverable state."
            raise _RefusedError(_error(409, "Conflict", text, inner="ObjectIsDeletedButRecoverable"))
        return self._add(base, name, asked)

    def _add(self, base: str, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        attributes = {
            "enabled": True,
            "created": now,
            "updated": now,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
            **(asked.get("attributes") or {}),
        }
        version = {
            "value": asked["value"],
            "id": f"{base}/secrets/{name}/{uuid.uuid4().hex}",
            "attributes": attributes,
            "tags": asked.get("tags") or {},
        }
        if asked.get("contentType"):
            version["contentType"] = asked["contentType"]
        self._secrets.setdefault(name, []).append(version)
        return version

    def _list_versions(self, base: str, name: str, query: Mapping[str, str]) -> Answer:
        versions = [_without_value(version) for version in self._find(name)]
        first, size = (int(query.get(key, usual)) for key, usual in (("$skiptoken", 0), ("maxresults", 25)))
        more = first + size < len(versions)
        rest = f"?api-version={query['api-version']}&$skiptoken={first + size}&maxresults={size}"
        link = f"{base}/secrets/{name}/versions{rest}" if more else None
        return Answer.json({"value": versions[first : first + size], "nextLink": link})

    def _deleted_answer(self, base: str, name: str) -> dict[str, Any]:
        now = int(time.time())
        times = {"deletedDate": now, "scheduledPurgeDate": now + 90 * 86400}
        recovery = {"recoveryId": f"{base}/deletedsecrets/{name}"}
        return {**_without_value(self._deleted[name][-1]), **recovery, **times}


def _without_value(version: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in version.items() if key != "value"}


def _not_found(what: str) -> Answer:
    text = f"A secret with (name/id) {what} was not found in this key vault."
    return _error(404, "SecretNotFound", text)


def _error(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    inner: str | None = None,
) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Answer.json({"error": error}, status, headers)


def main() -> None:
    import tempfile
    from pathlib import Path

    from tests.servers import by_hand
    from tests.servers.certificates import Certificates

    with tempfile.TemporaryDirectory(prefix="azure-") as folder:
        certificates = Certificates(Path(folder))
        with AzureServer(certificates.server.context()) as server:
            server.put("api", "a value")
            server.put_key("astro")
            exports = {
                "ASTRO_TOKEN_AZURE_HOSTS": f"127.0.0.1:{server.port}",
                "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
                "AZURE_AUTHORITY_HOST": server.url,
                "AZURE_TENANT_ID": server.tenant,
                "AZURE_CLIENT_ID": server.client_id,
                "AZURE_CLIENT_SECRET": server.client_secret,
            }
            by_hand.serve(
                "Azure Key Vault", exports, f"it holds {server.url}/secrets/api and {server.url}/keys/astro"
            )


if __name__ == "__main__":
    main()
