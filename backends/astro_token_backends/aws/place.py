"""Where AWS is asked and whom it is trusted to be: by the reference, the environment and the profile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError
from astro_token.transport.network import tls_context
from astro_token_backends import network

if TYPE_CHECKING:
    import ssl

    from astro_token.secrets.ref import SecretRef

__all__ = ["endpoint", "region", "region_of", "trust"]

# As the SDK names them: AWS_ENDPOINT_URL_<service id>.
_ENDPOINTS = {
    "secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "ssm": "AWS_ENDPOINT_URL_SSM",
    "kms": "AWS_ENDPOINT_URL_KMS",
    "sts": "AWS_ENDPOINT_URL_STS",
}


def region_of(ref: SecretRef) -> str | None:
    """The region that a reference names, by its option or by its ARN."""
    return ref.options.get("region") or (ref.name.split(":")[3] if ref.name.startswith("arn:") else None)


def region(named: str | None, of_profile: str | None) -> str:
    found = named or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or of_profile
    if not found:
        raise ConfigError(
            "no AWS region is set", hint="set AWS_REGION, add ?region=… to the reference, or give an ARN"
        )
    return found


def endpoint(sdk: Any, service: str) -> str | None:
    for name in ("AWS_ENDPOINT_URL", _ENDPOINTS[service]):
        if os.environ.get(name):
            network.refuse_plain_http(os.environ[name], name)
    if sdk.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    for name in (_ENDPOINTS[service], "AWS_ENDPOINT_URL"):
        if not os.environ.get(name):
            continue
        for other in ("use_fips_endpoint", "use_dualstack_endpoint"):
            if sdk.get_config_variable(other):
                raise ConfigError(
                    f"AWS_{other.upper()} and {name} contradict each other",
                    hint="unset one of them: an address of your own says itself what it is",
                )
        return os.environ[name]
    return None


def trust(sdk: Any) -> ssl.SSLContext:
    from botocore.httpsession import where

    context = tls_context()
    trusted = sdk.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or where()
    readable = True
    try:
        folder = os.path.isdir(trusted)  # noqa: PTH112 (a text)
        context.load_verify_locations(capath=trusted if folder else None, cafile=None if folder else trusted)
    except OSError:  # an SSLError is one
        readable = False
    if not readable:
        raise ConfigError(
            "the authorities that AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or the profile names cannot be read",
            hint="name a PEM file, or unset it",
        )
    return context
