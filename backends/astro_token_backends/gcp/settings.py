"""What the environment says of Google Cloud: where it is, by which proxy, and whom we are to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token_backends.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["endpoint", "host_and_port", "provider", "proxy_to", "service_account"]

PROVIDER = "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER"
SERVICE_ACCOUNT = "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT"

_ENDPOINT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):\d{1,5}", re.ASCII)
_PROVIDER = re.compile(
    r"(?:(?:https:)?//iam\.googleapis\.com/)?"
    r"(projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+)",
    re.ASCII,
)
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+", re.ASCII)


def endpoint(environ: Mapping[str, str], variable: str, usual: str) -> str:
    """
    Where a service is, `host:port`.

    Raises:
        ConfigError: what the variable holds is nothing of that form.
    """
    given = environ.get(variable)
    if given and not _ENDPOINT.fullmatch(given):
        raise ConfigError(
            f"the address in {variable} is refused", hint="give HOST:PORT; the connection is always TLS"
        )
    return given or f"{usual}:443"


def host_and_port(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def provider(environ: Mapping[str, str]) -> str | None:
    """
    The workload identity provider, `projects/…/providers/…`, which takes the CI system's identity.

    Raises:
        ConfigError: it is malformed.
    """
    given = environ.get(PROVIDER)
    if not given:
        return None
    found = _PROVIDER.fullmatch(given)
    if found:
        return found[1]
    raise ConfigError(
        f"{PROVIDER} is malformed",
        hint="give projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, "
        "with the project's number",
    )


def service_account(environ: Mapping[str, str]) -> str | None:
    """
    The service account to act as.

    Raises:
        ConfigError: it is no name of one.
    """
    given = environ.get(SERVICE_ACCOUNT)
    if not given or _ACCOUNT.fullmatch(given):
        return given or None
    raise ConfigError(
        f"{SERVICE_ACCOUNT} is malformed",
        hint="give its e-mail address, NAME@PROJECT.iam.gserviceaccount.com",
    )


def proxy_to(place: str, environ: Mapping[str, str]) -> str | None:
    """
    The proxy on the way to `host:port`, as `http://…`; gRPC itself would read `https_proxy` only.

    Raises:
        ConfigError: the variable holds no address of one.
    """
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    if not proxy or is_loopback(host_and_port(place)[0]):
        return None
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if proxy_bypass_environment(place, {"no": exceptions}):
        return None
    if not re.fullmatch(r"(?:http://)?[^\s/]+/?", proxy):
        raise ConfigError(
            "HTTPS_PROXY is no address of an HTTP proxy", hint="as in http://proxy.example.com:3128"
        )
    return f"http://{proxy.removeprefix('http://').rstrip('/')}"
