"""Azure Key Vault secrets: `azure:VAULT/SECRET`, through its client."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    InvalidRefError,
    SecretNotFoundError,
)
from astro_token.secret import SecretValue
from astro_token_backends import network

if TYPE_CHECKING:
    from astro_token.ref import SecretRef

__all__ = ["KeyVault"]

_HOSTS = "ASTRO_TOKEN_AZURE_HOSTS"
_AUTHORITY = "AZURE_AUTHORITY_HOST"
_VAULTS = re.compile(
    r"[a-z0-9-]+\.vault\.(?:azure\.net|azure\.cn|usgovcloudapi\.net|microsoftazure\.de)", re.IGNORECASE
)


class KeyVault:
    """
    Reads a version of a secret, the newest unless the reference says otherwise.

    Credentials: a service principal or a federated token's file, in the SDK's variables;
    without these the machine's managed identity, then the logins of az, Azure PowerShell and azd.
    Permissions: `Microsoft.KeyVault/vaults/secrets/getSecret/action` (role Key Vault Secrets User),
    or Get for secrets in the vault's access policy.
    Reference: `azure:my-vault/astro-prod`.
    Requests: 4 with a client's secret, and 1 for each read after the first.

    Args:
        credential: of the SDK, in place of those in the environment.
    """

    def __init__(self, credential: Any = None) -> None:
        import azure.keyvault.secrets  # noqa: F401

        self._wire = _wire()
        self._login = _Login(credential, self._wire)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        outcome = self._attempt(ref, timeout)
        if isinstance(outcome, AstroTokenError):
            raise outcome.with_traceback(None)
        return outcome

    def close(self) -> None:
        with self._lock:
            self._clients.clear()
        self._wire.session.close()

    def _attempt(self, ref: SecretRef, timeout: float) -> SecretValue | AstroTokenError:
        try:
            host, name, version = _address(ref)
            self._wire.begin(timeout)
            return _value(self._client(host).get_secret(name, version))
        except AstroTokenError as error:
            return error
        except Exception as error:  # noqa: BLE001 (an SDK raises what it likes)
            return _translated(error)

    def _client(self, host: str) -> Any:
        from azure.keyvault.secrets import SecretClient

        with self._lock:
            if host not in self._clients:
                self._clients[host] = SecretClient(
                    f"https://{host}",
                    self._login,
                    transport=self._wire,
                    retry_total=0,
                    permit_redirects=False,
                    # The challenge has to name the vault's own domain; a host of one's own is in none.
                    verify_challenge_resource=bool(_VAULTS.fullmatch(host)),
                )
            return self._clients[host]


class _Login:
    """A credential of the SDK, made when a vault first asks for it, and one login at a time."""

    def __init__(self, credential: Any, wire: Any) -> None:
        self._credential, self._wire = credential, wire
        self._explicit = True
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **options: Any) -> Any:
        with self._lock:
            outcome = self._attempt(scopes, options)
        if isinstance(outcome, AstroTokenError):
            raise outcome.with_traceback(None)
        return outcome

    def _attempt(self, scopes: tuple[str, ...], options: dict[str, Any]) -> Any:
        try:
            if self._credential is None:
                self._credential = self._from_environment()
        except AstroTokenError as error:
            return error
        except (ValueError, OSError):
            return ConfigError(
                "the Azure login's variables are not usable",
                hint=f"check AZURE_TENANT_ID, AZURE_CLIENT_ID, {_AUTHORITY} and the files that AZURE_… names",
            )
        try:
            return self._credential.get_token(*scopes, **options)
        except Exception:  # noqa: BLE001 (to the SDK a login that is busy, not there or refuses us is the same)
            unanswered, answered = self._wire.unanswered, self._wire.answered
        if self._explicit:
            return unanswered or answered or _bad_credential()
        # Nobody has to be where an identity was only looked for.
        return answered if isinstance(answered, BackendUnavailableError) else _no_credential()

    def _from_environment(self) -> Any:
        from azure import identity

        authority = os.environ.get(_AUTHORITY, "")
        if ":" in authority.partition("/")[0]:
            network.refuse_plain_http(authority, _AUTHORITY)
        # The authority comes from the environment, which we trust: nobody needs to be asked about it.
        explicit = {"transport": self._wire, "retry_total": 0, "disable_instance_discovery": True}
        if os.environ.get("AZURE_CLIENT_SECRET") or os.environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
            return identity.EnvironmentCredential(**explicit)
        if os.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
            return identity.WorkloadIdentityCredential(**explicit)
        self._explicit = False
        return identity.DefaultAzureCredential(
            transport=self._wire,
            retry_total=0,
            exclude_environment_credential=True,
            exclude_workload_identity_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_broker_credential=True,
        )


def _wire() -> Any:
    """What carries the requests of the vaults and of the login."""
    from azure.core.pipeline.transport import RequestsTransport

    class Wire(RequestsTransport):  # type: ignore[misc]
        """
        Keeps the requests of an attempt within its timeout,
        and in mind what was wrong with the last one, which the error of a login does not tell.
        """

        def __init__(self) -> None:
            super().__init__(session=network.session(), session_owner=False)
            self._now = threading.local()

        def begin(self, timeout: float) -> None:
            self._now.end = time.monotonic() + timeout
            self._now.unanswered = self._now.answered = None

        @property
        def unanswered(self) -> AstroTokenError | None:
            return cast("AstroTokenError | None", self._now.unanswered)

        @property
        def answered(self) -> AstroTokenError | None:
            return cast("AstroTokenError | None", self._now.answered)

        def send(self, request: Any, **options: Any) -> Any:
            left = max(0.001, self._now.end - time.monotonic())
            # The SDK gives one only to find out quickly whether this machine has an identity.
            left = min(left, options.get("connection_timeout", left))
            options.update(connection_timeout=left, read_timeout=left)
            self._now.unanswered = self._now.answered = None
            try:
                answer = super().send(request, **options)
            except Exception as error:
                self._now.unanswered = network.connection_failure(error)
                raise
            self._now.answered = _passing(answer) or (network.damaged() if answer.status_code < 300 else None)  # noqa: PLR2004
            return answer

    return Wire()


def _address(ref: SecretRef) -> tuple[str, str, str | None]:
    """
    The host, the secret and its version.

    Raises:
        ConfigError: the host is not one that gets our credential.
    """
    url = (
        ref.name
        if ref.name.startswith("https://")
        else "https://{}.vault.azure.net/secrets/{}".format(*ref.name.split("/"))
    )
    host, path = urlsplit(url).netloc.lower(), urlsplit(url).path.split("/")[2:]
    listed = {one.strip().lower() for one in os.environ.get(_HOSTS, "").split(",")}
    if not _VAULTS.fullmatch(host) and host not in listed:
        raise ConfigError(
            "the reference's host is not in the domain of an Azure cloud's vaults",
            hint=f"if it is yours and may get your credential, list it in {_HOSTS} as it stands there",
        )
    return host, path[0], path[1] if len(path) > 1 else ref.options.get("version")


def _value(secret: Any) -> SecretValue | AstroTokenError:
    value, version = secret.value, secret.properties.version
    named = isinstance(version, str) and re.fullmatch(r"[0-9a-f]{32}", version)
    if not named or not isinstance(value, str):
        return network.damaged()
    return SecretValue(value.encode("utf-8", errors="surrogatepass"), version)


def _translated(error: Exception) -> AstroTokenError:
    from azure.core import exceptions as sdk

    match error:
        case sdk.DecodeError():
            return network.damaged()
        case sdk.HttpResponseError():
            return _refused(error)
        case sdk.ServiceRequestError() | sdk.ServiceResponseError():
            return network.connection_failure(error)
        case sdk.AzureError():
            return BackendError(f"the SDK of Azure failed with {type(error).__name__}")
        case ValueError() | AttributeError() | TypeError() | LookupError() | RecursionError():
            return network.damaged()  # the SDK stumbled over it, or over its challenge
    return BackendError(f"the SDK of Azure failed with {type(error).__name__}")


def _refused(error: Any) -> AstroTokenError:
    status, inner = error.status_code, getattr(error.error, "innererror", None)
    disabled = isinstance(inner, dict) and inner.get("code") == "SecretDisabled"
    if status == 404 or (status == 403 and disabled):  # noqa: PLR2004
        return SecretNotFoundError(
            "there is no such secret or version, or it is deleted or disabled",
            hint="check the vault, the name and the version",
        )
    if status == 403:  # noqa: PLR2004
        return AccessDeniedError(
            "Azure denies access to the secret",
            hint="grant Microsoft.KeyVault/vaults/secrets/getSecret/action (role Key Vault Secrets User), "
            "or Get secret in the vault's access policy; check the vault's firewall",
        )
    if status == 401:  # noqa: PLR2004
        return _bad_credential()
    if status == 400:  # noqa: PLR2004
        return InvalidRefError("Azure does not accept the reference", hint="check the name and the version")
    failure = _passing(error.response) if error.response is not None else network.connection_failure(error)
    if failure is None and status is not None and status < 300:  # noqa: PLR2004
        return network.damaged()
    return failure or BackendError("Azure refused the request in a way that is not known here")


def _passing(answer: Any) -> AstroTokenError | None:
    """What an answer means that is not about us: one to wait for, or one from somebody else."""
    status = answer.status_code
    if status in {408, 429} or status >= 500:  # noqa: PLR2004
        seconds = str(answer.headers.get("Retry-After", ""))
        return network.busy(float(seconds) if re.fullmatch(r"\d{1,5}", seconds) else None)
    return network.redirected() if 300 <= status < 400 else None  # noqa: PLR2004


def _no_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "there is no Azure credential",
        hint="set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run az login; looked for: "
        "these, AZURE_CLIENT_CERTIFICATE_PATH, AZURE_FEDERATED_TOKEN_FILE, a managed identity, az, "
        "Azure PowerShell, azd",
    )


def _bad_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "Azure does not accept the credential",
        hint="renew the client's secret or the federated token; check AZURE_TENANT_ID and AZURE_CLIENT_ID",
    )
