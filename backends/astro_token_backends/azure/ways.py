"""
Which login is used: the first of these that is there.

1. AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE
2. a managed identity that the environment tells of (IDENTITY_ENDPOINT, MSI_ENDPOINT)
3. the CI system's identity, where AZURE_TENANT_ID and AZURE_CLIENT_ID, or the variables of a service
   connection of Azure Pipelines, name an application; not where AZURE_TOKEN_CREDENTIALS names another way
4. what has to be asked for: a virtual machine's identity, then the logins of az, Azure PowerShell and azd
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import AccessDeniedError, AstroTokenError, ConfigError, bare
from astro_token.secret import SecretValue
from astro_token.system.files import open_regular
from astro_token.token import is_jwt
from astro_token_backends import network
from astro_token_backends.azure.address import AUTHORITY, authority_host
from astro_token_backends.azure.client_credentials import ClientCredentials
from astro_token_backends.credential_source import JobIdentity, job_identity, printable_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.azure.sdk_login import SdkLogin
    from astro_token_backends.azure.wire import Wire

    Way = ClientCredentials | SdkLogin

__all__ = ["find_way"]

AUDIENCE = "ASTRO_TOKEN_AZURE_AUDIENCE"
_EXCHANGE = "api://AzureADTokenExchange"
_LONGEST_FILE = 16 * 1024
_LOOKED_FOR = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)


def find_way(wire: Wire, environ: Mapping[str, str], given: Any) -> Way | AstroTokenError:
    try:
        return _chosen(wire, environ, given)
    except AstroTokenError as error:
        return bare(error)
    except (ValueError, OSError):
        return ConfigError(
            "the Azure login's variables are not usable",
            hint=f"check AZURE_TENANT_ID, AZURE_CLIENT_ID, {AUTHORITY}, AZURE_TOKEN_CREDENTIALS "
            "and the files that AZURE_… names",
        )


def _chosen(wire: Wire, environ: Mapping[str, str], given: Any) -> Way:
    from astro_token_backends.azure import sdk_login

    if given is not None:
        from astro_token_backends.azure.refusals import bad_credential

        return sdk_login.SdkLogin(given, "the credential that was given", bad_credential)
    authority = _authority(environ)
    application = _application(environ)
    if secret := environ.get("AZURE_CLIENT_SECRET"):
        tenant, client = application or _incomplete("AZURE_CLIENT_SECRET")
        kept = SecretValue(secret.encode())
        return ClientCredentials(authority, tenant, client, lambda: kept, False, "AZURE_CLIENT_SECRET")
    if path := environ.get("AZURE_CLIENT_CERTIFICATE_PATH"):
        _ = application or _incomplete("AZURE_CLIENT_CERTIFICATE_PATH")
        return sdk_login.certificate(wire, path)
    if path := environ.get("AZURE_FEDERATED_TOKEN_FILE"):
        tenant, client = application or _incomplete("AZURE_FEDERATED_TOKEN_FILE")
        source = f"the federated token in {printable_path(path)} (AZURE_FEDERATED_TOKEN_FILE)"
        return ClientCredentials(authority, tenant, client, lambda: _in_file(path), True, source, _EXCHANGE)
    if variable := next(filter(environ.get, ("IDENTITY_ENDPOINT", "MSI_ENDPOINT")), None):
        return sdk_login.managed_identity(wire, environ.get("AZURE_CLIENT_ID"), variable)
    application = application or _application(environ, "AZURESUBSCRIPTION")
    if application and not environ.get("AZURE_TOKEN_CREDENTIALS"):
        found = _of_the_job(wire, environ, authority, *application)
        if found:
            return found
    return sdk_login.looked_for(wire, environ, lambda: _no_credential(environ))


def _application(environ: Mapping[str, str], prefix: str = "AZURE") -> tuple[str, str] | None:
    tenant, client = environ.get(f"{prefix}_TENANT_ID"), environ.get(f"{prefix}_CLIENT_ID")
    if not tenant or not client:
        return None
    if not re.fullmatch(r"[0-9A-Za-z.-]{1,253}", tenant) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", client):
        raise ConfigError(
            f"{prefix}_TENANT_ID or {prefix}_CLIENT_ID is malformed", hint="give both as Azure shows them"
        )
    return tenant, client


def _incomplete(variable: str) -> tuple[str, str]:
    raise ConfigError(
        f"{variable} is set, and AZURE_TENANT_ID or AZURE_CLIENT_ID is not", hint="set all three, or unset it"
    )


def _authority(environ: Mapping[str, str]) -> str:
    given = environ.get(AUTHORITY, "").strip().rstrip("/")
    url = given if "://" in given else f"https://{authority_host()}"
    network.refuse_plain_http(url, AUTHORITY)
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._-]+)*", url):
        raise ConfigError(f"the address in {AUTHORITY} is refused", hint="give https://HOST")
    return url


def _of_the_job(
    wire: Wire, environ: Mapping[str, str], authority: str, tenant: str, client: str
) -> ClientCredentials | None:
    """The login with the CI system's identity; None where there is no such identity."""
    audience = environ.get(AUDIENCE) or _EXCHANGE

    def identity() -> JobIdentity | None:
        return job_identity(audience, environ=environ, timeout=wire.seconds)

    first = identity()
    if first is None:
        return None
    taken = [first]

    def proof() -> SecretValue:
        now = taken.pop() if taken else identity()
        return now.token if now else SecretValue(b"")

    variable = "AZURE_CLIENT_ID" if _application(environ) else "AZURESUBSCRIPTION_CLIENT_ID"
    source = f"{first.source}, as the application in {variable}"
    return ClientCredentials(authority, tenant, client, proof, True, source, audience)


def _in_file(path: str) -> SecretValue:
    """A pod's projected token, which changes while we run."""
    data = b""
    try:
        with open_regular(Path(path)) as file:
            data = file.read(_LONGEST_FILE + 1).strip()
    except (OSError, ValueError):
        pass
    if not is_jwt(data):
        data = b""
    if not data or len(data) > _LONGEST_FILE:
        raise ConfigError(
            "AZURE_FEDERATED_TOKEN_FILE leads to no identity token",
            hint="name the file of a pod's projected service account token",
        )
    return SecretValue(data)


def _no_credential(environ: Mapping[str, str]) -> AccessDeniedError:
    from astro_token.ci.identity import identity_hint

    found = [name for name in _LOOKED_FOR if environ.get(name)]
    mend = (
        identity_hint(environ)
        or "run az login, or set AZURE_TENANT_ID and AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET"
    )
    return AccessDeniedError(
        "there is no Azure credential",
        hint=f"{mend}; looked for: {', '.join(_LOOKED_FOR)}, the CI system's identity, a managed identity, "
        f"az, Azure PowerShell, azd; found: {', '.join(found) or 'none'}",
    )
