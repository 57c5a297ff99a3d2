"""The variables of the environment that have a say, by their names alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.secrets.schemes import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from astro_token.doctor.report import Report

__all__ = ["OWN", "look"]

_PREFIX = "ASTRO_TOKEN_"
# Every variable of ours. A test compares this with the sources.
OWN = frozenset(
    _PREFIX + name
    for name in (
        "AGE_KEY",
        "AGE_KEY_FILE",
        "AGE_RECIPIENTS_FILE",
        "API_URL",
        "AWS_ASSUME_ROLE_ARN",
        "AWS_AUDIENCE",
        "AWS_EXTERNAL_ID",
        "AZURE_AUDIENCE",
        "AZURE_HOSTS",
        "AZURE_SERVICE_CONNECTION",
        "BACKEND",
        "CA_BUNDLE",
        "CLI_RELEASES_URL",
        "DECRYPT",
        "FIELD",
        "GCP_AUDIENCE",
        "GCP_ENDPOINT",
        "GCP_IAM_ENDPOINT",
        "GCP_KMS_ENDPOINT",
        "GCP_SERVICE_ACCOUNT",
        "GCP_STS_ENDPOINT",
        "GCP_WORKLOAD_IDENTITY_PROVIDER",
        "ID_TOKEN",
        "KUBERNETES_TOKEN_FILE",
        "NAME",
        "PLUGINS",
        "POLICY_DEPLOY",
        "POLICY_MAX_AGE",
        "POLICY_MAX_SCOPE",
        "POLICY_MIN_VALIDITY",
        "POLICY_ONLINE",
        "POLICY_REQUIRE_EXPIRY",
        "POLICY_WARN_VALIDITY",
        "REF",
        "TIMEOUT",
        "VAULT_AUDIENCE",
        "VAULT_AUTH",
        "VAULT_MOUNT",
        "VAULT_ROLE",
        "VERSION",
    )
)
_OF_ALL = (
    "ASTRO_API_TOKEN",
    "ASTRO_DOMAIN",
    "ASTRO_HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_NAME = re.compile(
    r"[A-Za-z0-9_]{1,64}"
)  # another is none of anybody's, and may be a slip with a value in it
# By the extra of a scheme: how the variables of its service begin.
_OF_SERVICE = {
    "vault": ("VAULT_",),
    "aws": ("AWS_",),
    "gcp": ("GOOGLE_", "CLOUDSDK_", "GCE_METADATA_", "NO_GCE_CHECK", "GRPC_"),
    "azure": ("AZURE_", "IDENTITY_", "MSI_"),
}


_PLACES = {
    "vault": ("VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT"),
    "aws": ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"),
    "gcp": ("GOOGLE_CLOUD_QUOTA_PROJECT",),
    "azure": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST", "AZURE_TOKEN_CREDENTIALS"),
}


def look(report: Report, environ: Mapping[str, str], schemes: Iterable[str]) -> None:
    """
    Args:
        schemes: of the secret and of the key, whose services' variables count.
    """
    extras = {BUILTIN[scheme].extra for scheme in schemes if scheme in BUILTIN}
    prefixes = (_PREFIX, *(prefix for extra in extras if extra for prefix in _OF_SERVICE[extra]))
    names = sorted(name for name, value in environ.items() if value and _NAME.fullmatch(name))
    found = [name for name in names if name in _OF_ALL or name.startswith(prefixes)]
    if found:
        report.add("variables", "ok", ", ".join(found))
    else:
        report.add("variables", "none", "none is set that has a say here")
    theirs = {name for extra in extras if extra for name in _read_by(extra)}
    for name in found:
        ours = name.startswith(_PREFIX)
        meant = _meant(name, OWN, 0.85) if ours else _meant(name, theirs, 0.9)
        if meant and (ours or not environ.get(meant)):
            report.add(
                "variables",
                "warning",
                f"{name} is none that we know",
                f"if {meant} is meant, correct its name",
            )


def _read_by(extra: str) -> set[str]:
    """The variables of a service that have a say, but for those that only its SDK knows."""
    credentials = {name for one in BUILTIN.values() if one.extra == extra for name in one.credentials}
    return credentials.union(_PLACES[extra])


def _meant(name: str, known: Collection[str], alike: float) -> str | None:
    """The variable of which this seems to be a slip; None where it is one of them, or like none."""
    from difflib import get_close_matches

    return (
        None if name in known else next(iter(get_close_matches(name, sorted(known), n=1, cutoff=alike)), None)
    )
