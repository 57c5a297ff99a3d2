"""The region and the endpoint of a service, from the reference, the environment and the profile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError, NoStoreError
from astro_token.transport.address import checked_address

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["LOGIN_ENDPOINTS", "endpoint_url", "region_of", "resolve_region"]

# botocore's names: AWS_ENDPOINT_URL_<service id>.
_VARIABLES = {
    "secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "ssm": "AWS_ENDPOINT_URL_SSM",
    "kms": "AWS_ENDPOINT_URL_KMS",
    "sts": "AWS_ENDPOINT_URL_STS",
}
# The services that the credential chain may send an identity to.
LOGIN_ENDPOINTS = tuple(f"AWS_ENDPOINT_URL_{service}" for service in ("STS", "SSO", "SSO_OIDC", "SIGNIN"))


def region_of(ref: SecretRef) -> str | None:
    """The region that a reference names, by its option or by its ARN."""
    return ref.options.get("region") or (ref.name.split(":")[3] if ref.name.startswith("arn:") else None)


def resolve_region(of_reference: str | None, of_profile: str | None) -> str:
    variables = (os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))
    region = next(filter(None, (of_reference, *variables, of_profile)), None)
    if region is None:
        raise NoStoreError(
            "no AWS region is set", hint="set AWS_REGION, add ?region=… to the reference, or use an ARN"
        )
    return region


def endpoint_url(sdk: Any, service: str) -> str | None:
    """
    The endpoint that the environment sets for a service; None for AWS's own.

    Raises:
        ConfigError: its address, or another setting contradicts it.
    """
    names = [name for name in (_VARIABLES[service], "AWS_ENDPOINT_URL") if os.environ.get(name)]
    for name in names:
        checked_address(os.environ[name], name)
    if not names or sdk.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    for other in ("use_fips_endpoint", "use_dualstack_endpoint"):
        if sdk.get_config_variable(other):
            raise ConfigError(
                f"AWS_{other.upper()} and {names[0]} contradict each other", hint="unset one of them"
            )
    return os.environ[names[0]]
