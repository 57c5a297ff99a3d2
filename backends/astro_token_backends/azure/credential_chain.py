"""
Choose the login, the first that is configured:

1. AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE
2. a managed identity named in the environment (IDENTITY_ENDPOINT, MSI_ENDPOINT)
3. the CI system's identity, if AZURE_TENANT_ID and AZURE_CLIENT_ID, or the variables of a service
   connection of Azure Pipelines, name an application; not if AZURE_TOKEN_CREDENTIALS names another login
4. a login that only a request or a program can find: a virtual machine's identity,
   then az, Azure PowerShell and azd
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError, NoCredentialError
from astro_token.secret import SecretValue
from astro_token.system.variables import path_setting, secret_setting, setting
from astro_token.transport.address import checked_address
from astro_token_backends.azure.client_credentials import ClientCredentials
from astro_token_backends.azure.settings import AUTHORITY, IDENTITY_ENDPOINTS, authority_host
from astro_token_backends.credential_source import audience_setting, job_identity, printable_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.azure.adapter import LoginTransport
    from astro_token_backends.azure.sdk_login import SdkLogin
    from astro_token_backends.credential_source import JobIdentity

__all__ = ["choose_login"]

_AUDIENCE = "ASTRO_TOKEN_AZURE_AUDIENCE"
_EXCHANGE = "api://AzureADTokenExchange"
_ID = r"[0-9A-Za-z-]{1,64}"
_TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # a pod's projected token, which is replaced while we run
_SEARCHED = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    _TOKEN_FILE,
    *IDENTITY_ENDPOINTS,
)


def choose_login(
    transport: LoginTransport, environ: Mapping[str, str], credential: Any
) -> ClientCredentials | SdkLogin:
    """
    Choose the login.

    Args:
        credential: of the SDK, which replaces those in the environment; or None.

    Raises:
        ConfigError: a setting is wrong or missing.
        AstroTokenError: as the CI system's identity.
    """
    if credential is not None:
        from astro_token_backends.azure.errors import bad_credential
        from astro_token_backends.azure.sdk_login import SdkLogin

        return SdkLogin(credential, "the injected credential", bad_credential)
    authority = _authority(environ)
    if secret := secret_setting(environ, "AZURE_CLIENT_SECRET"):
        tenant, client = _required_application(environ, "AZURE_CLIENT_SECRET")
        proof = SecretValue(secret.encode())
        return ClientCredentials(authority, tenant, client, lambda: proof, False, "AZURE_CLIENT_SECRET")
    if setting(environ, "AZURE_CLIENT_CERTIFICATE_PATH"):
        from astro_token_backends.azure.sdk_login import certificate

        tenant, client = _required_application(environ, "AZURE_CLIENT_CERTIFICATE_PATH")
        return certificate(transport, environ, authority, tenant, client)
    if path := path_setting(environ, _TOKEN_FILE):
        from astro_token.identity.stored import token_in_file

        tenant, client = _required_application(environ, _TOKEN_FILE)
        source = f"the federated token in {printable_path(path)} ({_TOKEN_FILE})"
        return ClientCredentials(
            authority, tenant, client, lambda: token_in_file(_TOKEN_FILE, environ), True, source, _EXCHANGE
        )
    assigned = _checked(environ, "AZURE_CLIENT_ID", _ID) or None
    if variable := next((name for name in IDENTITY_ENDPOINTS if setting(environ, name)), None):
        from astro_token_backends.azure.sdk_login import managed_identity

        return managed_identity(transport, assigned, variable)
    application = _application(environ) or _application(environ, "AZURESUBSCRIPTION")
    if application and not setting(environ, "AZURE_TOKEN_CREDENTIALS"):
        login = _job_login(transport, environ, authority, *application)
        if login:
            return login
    from astro_token_backends.azure.sdk_login import probed_login

    return probed_login(transport, environ, assigned, lambda: _no_credential(environ))


def _application(environ: Mapping[str, str], prefix: str = "AZURE") -> tuple[str, str] | None:
    """Tenant and client."""
    tenant = _checked(environ, f"{prefix}_TENANT_ID", r"[0-9A-Za-z.-]{1,253}")
    client = _checked(environ, f"{prefix}_CLIENT_ID", _ID)
    return (tenant, client) if tenant and client else None


def _checked(environ: Mapping[str, str], name: str, pattern: str) -> str:
    """A variable of this form; empty if it is unset."""
    value = setting(environ, name)
    if not value or re.fullmatch(pattern, value):
        return value
    raise ConfigError(f"{name} is malformed", hint="copy the value from the Azure portal")


def _required_application(environ: Mapping[str, str], variable: str) -> tuple[str, str]:
    if application := _application(environ):
        return application
    raise ConfigError(
        f"{variable} is set, but AZURE_TENANT_ID or AZURE_CLIENT_ID is not",
        hint=f"set all three, or unset {variable}",
    )


def _authority(environ: Mapping[str, str]) -> str:
    text = setting(environ, AUTHORITY).rstrip("/")
    address = checked_address(text if "://" in text else f"https://{authority_host(environ)}", AUTHORITY)
    path = address.target.rstrip("/")
    if not re.fullmatch(r"(?:/[A-Za-z0-9._-]+)*", path):
        raise ConfigError(f"the address in {AUTHORITY} is not valid", hint="use https://HOST")
    return f"{address.origin}{path}"


def _job_login(
    transport: LoginTransport, environ: Mapping[str, str], authority: str, tenant: str, client: str
) -> ClientCredentials | None:
    """The login with the CI system's identity; None without such an identity."""

    def identity() -> JobIdentity | None:
        return job_identity(_AUDIENCE, _EXCHANGE, environ=environ, timeout=transport.attempt.seconds)

    first = identity()
    if first is None:
        return None
    unused = [first]

    def proof() -> SecretValue:
        current = unused.pop() if unused else identity()
        return current.token if current else SecretValue(b"")

    variable = "AZURE_CLIENT_ID" if _application(environ) else "AZURESUBSCRIPTION_CLIENT_ID"
    source = f"{first.source}, as the application in {variable}"
    audience = audience_setting(environ, _AUDIENCE) or _EXCHANGE
    return ClientCredentials(authority, tenant, client, proof, True, source, audience)


def _no_credential(environ: Mapping[str, str]) -> NoCredentialError:
    from astro_token.ci import in_ci
    from astro_token.ci.identity import identity_hint

    present = [name for name in _SEARCHED if environ.get(name)]
    person = "" if in_ci(environ) else "run az login, or "
    remedy = (
        identity_hint(environ) or f"{person}set AZURE_TENANT_ID and AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET"
    )
    return NoCredentialError(
        "there is no Azure credential",
        hint=f"{remedy}; looked for: {', '.join(_SEARCHED)}, the CI system's identity, a managed identity, "
        f"az, Azure PowerShell, azd; found: {', '.join(present) or 'none'}",
    )
