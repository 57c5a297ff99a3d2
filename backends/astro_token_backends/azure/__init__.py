"""Azure Key Vault: its secrets, and its keys."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LOGGERS", "SCHEMES"]

LOGGERS = ("azure", "msal", "requests", "urllib3")
_SERVICE: dict[str, Any] = {
    "extra": "azure",
    "sdk": "azure.keyvault.secrets",
    "distributions": ("azure-keyvault-secrets", "azure-keyvault-keys", "azure-identity", "azure-core"),
    "loggers": LOGGERS,
    "credentials": (
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "AZURE_USERNAME",
        "AZURE_PASSWORD",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_CONFIG_DIR",
        "AZD_CONFIG_DIR",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
        "MSI_SECRET",
    ),
    "settings": (
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURESUBSCRIPTION_TENANT_ID",
        "AZURESUBSCRIPTION_CLIENT_ID",
        "AZURE_ADDITIONALLY_ALLOWED_TENANTS",
        "AZURE_AUTHORITY_HOST",
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_REGIONAL_AUTHORITY_NAME",
        "AZURE_TOKEN_CREDENTIALS",
        "IDENTITY_SERVER_THUMBPRINT",
        "IMDS_ENDPOINT",
        "ASTRO_TOKEN_AZURE_AUDIENCE",
        "ASTRO_TOKEN_AZURE_HOSTS",
    ),
    "prefixes": ("AZURE", "AZD_", "IDENTITY_", "IMDS_", "MSI_"),
}
_VAULT = r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]"
_URL = r"https://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::\d{1,5})?"
_NAME = r"[0-9A-Za-z-]{1,127}"
_VERSION = r"[0-9a-f]{32}"

SCHEMES = {
    "azure": Scheme(
        backend="astro_token_backends.azure.key_vault:KeyVault",
        description="Azure Key Vault secrets",
        form="VAULT/SECRET or the secret's URL",
        example="azure:my-vault/astro-prod",
        grammar=(rf"{_VAULT}/{_NAME}", rf"{_URL}/secrets/{_NAME}(?:/{_VERSION})?"),
        options={"version": _VERSION},
        version_option="version",
        pinning_options=("version",),
        pins=r"/secrets/[^/]+/",
        canonical="astro_token_backends.azure.key_vault:canonical",
        rotation_suffix="-rotation",
        **_SERVICE,
    ),
    "azure-keys": Scheme(
        backend="astro_token_backends.azure.keys:Keys",
        description="a key of Azure Key Vault",
        form="VAULT/KEY or the key's URL",
        example="azure-keys:my-vault/astro",
        grammar=(rf"{_VAULT}/{_NAME}", rf"{_URL}/keys/{_NAME}(?:/{_VERSION})?"),
        options={"version": _VERSION},
        pinning_options=("version",),
        key=True,
        **_SERVICE,
    ),
}
