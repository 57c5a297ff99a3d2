"""
Settings of Google Cloud in the environment: endpoints, workload identity provider, service account.

A malformed one is a `ConfigError`.
"""

from __future__ import annotations

import re

from astro_token.errors import ConfigError
from astro_token.system.variables import setting
from astro_token.transport.address import Address, split_host_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PROVIDER",
    "SERVICE_ACCOUNT",
    "endpoint",
    "provider",
    "service_accounts",
]

PROVIDER = "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER"
SERVICE_ACCOUNT = "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT"


def endpoint(environ: Mapping[str, str], variable: str, host: str, target: str = "/") -> Address:
    """Return the address of a service: `HOST:PORT` from a variable, else its public host."""
    value = setting(environ, variable) or f"{host}:443"
    try:
        host, port = split_host_port(value, 0)
    except ValueError:
        port = 0
    if port:
        return Address("https", host, port, target)
    raise ConfigError(
        f"{variable} is not an address", hint="set it to HOST:PORT; the connection always uses TLS"
    )


def provider(environ: Mapping[str, str]) -> str | None:
    """Return the workload identity provider for the CI system's identity, `projects/…/providers/…`."""
    pattern = (
        r"(?:(?:https:)?//iam\.googleapis\.com/)?"
        r"(projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+)"
    )
    value = setting(environ, PROVIDER)
    if not value:
        return None
    if match := re.fullmatch(pattern, value):
        return match[1]
    raise ConfigError(
        f"{PROVIDER} is malformed",
        hint="set it to projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, "
        "with the project's number",
    )


def service_accounts(environ: Mapping[str, str]) -> list[str]:
    """Return the service account to act as, after those that delegate to it; nothing if none is set."""
    value = setting(environ, SERVICE_ACCOUNT)
    accounts = [account.strip() for account in value.split(",")] if value else []
    if all(re.fullmatch(r"[a-z0-9-]+@[a-z0-9.-]+", account) for account in accounts):
        return accounts
    raise ConfigError(
        f"{SERVICE_ACCOUNT} is malformed",
        hint="set it to an e-mail address, NAME@PROJECT.iam.gserviceaccount.com, "
        "or to a chain of them, separated by commas",
    )
