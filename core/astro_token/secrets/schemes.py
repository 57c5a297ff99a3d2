"""
The table of built-in schemes: for each its grammar, its backend, its extra, and its credentials' variables.

Everything here can be known without importing a backend.
A name's grammar is that of its service, so that no text can reach another path of it than the one it names.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BUILTIN",
    "CI_IDENTITY_VARIABLES",
    "DISTRIBUTIONS",
    "RESERVED",
    "SDKS",
    "Scheme",
    "credential_variables",
]

_SEGMENT = r"[A-Za-z0-9_.-]{1,128}"
_REGION = r"[a-z]{2,3}(?:-[a-z]+){1,3}-\d{1,2}"
_ARN = rf"arn:aws[a-z-]{{0,20}}:%s:{_REGION}:\d{{12}}:"
_PROJECT = r"[a-z0-9](?:[a-z0-9.:-]{0,98}[a-z0-9])?"
_GCP_VERSION = r"(?:latest|[1-9]\d{0,9}|[A-Za-z][A-Za-z0-9_-]{0,62})"
_GCP_SECRET = r"[A-Za-z0-9_-]{1,255}"
_KEY_NAME = r"[A-Za-z0-9_-]{1,63}"
_LOCATION = r"[a-z0-9-]{1,63}"
_VAULT_NAME = r"[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]"
_AZURE_URL = r"https://[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::\d{1,5})?"
_AZURE_NAME = r"[0-9A-Za-z-]{1,127}"
_NAMESPACE = rf"{_SEGMENT}(?:/{_SEGMENT})*/?"
_PRINTABLE = r"[^\x00-\x1f\x7f]+"
# Vault's own paths: a secret does not live there, and a login or the seal does.
_NOT_A_MOUNT = r"(?!(?:sys|auth|identity|cubbyhole)/)"
_NO_OWN_PATH = r"(?!(?:[^/]+/)*(?:sys|auth|identity|cubbyhole)/)"  # nor behind a namespace


class Scheme(NamedTuple):  # a dataclass takes five times as long to make, at every start
    """
    One row of the table.

    Attributes:
        backend: the factory, `module:attribute`.
        what: what it names, for people.
        form: the form of a name, for people.
        example: a whole reference.
        names: expressions, one of which a name has to match as a whole.
        options: the options it takes, and the expression a value has to match as a whole;
            a name that ends with "." stands for all that begin with it.
        extra: the extra that installs its SDK, None where the core is enough.
        version_option: the option that pins a version.
        pins: an expression; a name that contains it is pinned to a version.
        key: True for a key service, whose references name keys and take no field.
        credentials: environment variables that hold a credential or the way to one.
        instant: True if reading contacts no service, so that it cannot hang and needs no thread.
    """

    backend: str
    what: str
    form: str
    example: str
    names: tuple[str, ...]
    options: Mapping[str, str] = MappingProxyType({})
    extra: str | None = None
    version_option: str | None = None
    pins: str | None = None
    key: bool = False
    credentials: tuple[str, ...] = ()
    instant: bool = False


_VAULT = (
    "VAULT_TOKEN",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_WRAPPED_SECRET_ID",
    "VAULT_USERNAME",
    "VAULT_PASSWORD",
    "VAULT_CLIENT_KEY",
)
_AWS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "ASTRO_TOKEN_AWS_EXTERNAL_ID",
)
_GCP = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_GHA_CREDS_PATH",
    "CLOUDSDK_AUTH_ACCESS_TOKEN",
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
    "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
)
_AZURE = (
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_USERNAME",
    "AZURE_PASSWORD",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    # Of Azure Pipelines: a service connection, and what its tasks give to a script on request.
    "ASTRO_TOKEN_AZURE_SERVICE_CONNECTION",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "idToken",
    "servicePrincipalKey",
)

# What a CI system gives a job to prove who it is.
CI_IDENTITY_VARIABLES = (
    "ASTRO_TOKEN_ID_TOKEN",
    "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "CI_JOB_JWT",
    "CI_JOB_JWT_V1",
    "CI_JOB_JWT_V2",
    "SYSTEM_ACCESSTOKEN",
    "SYSTEM_OIDCREQUESTURI",
)

BUILTIN: Mapping[str, Scheme] = MappingProxyType(
    {
        "file": Scheme(
            backend="astro_token_backends.file:AgeFile",
            what="an age-encrypted file, or a plain one such as a mounted secret",
            form="PATH",
            example="file:prod.token.age",
            names=(_PRINTABLE,),
            credentials=("ASTRO_TOKEN_AGE_KEY", "ASTRO_TOKEN_AGE_KEY_FILE"),
            instant=True,
        ),
        "env": Scheme(
            backend="astro_token_backends.env:Environment",
            what="an environment variable",
            form="VARIABLE",
            example="env:ASTRO_API_TOKEN",
            names=(r"[A-Za-z_][A-Za-z0-9_]{0,254}",),
            instant=True,
        ),
        "vault": Scheme(
            backend="astro_token_backends.vault.kv:KeyValue",
            what="HashiCorp Vault or OpenBao, KV 1 and 2",
            form="MOUNT/PATH",
            example="vault:secret/astro/prod#token",
            names=(rf"{_NOT_A_MOUNT}{_SEGMENT}(?:/{_SEGMENT})+",),
            options={"version": r"[1-9]\d{0,9}", "namespace": _NAMESPACE, "kv": "[12]"},
            extra="vault",
            version_option="version",
            credentials=_VAULT,
        ),
        "aws": Scheme(
            backend="astro_token_backends.aws.secrets_manager:SecretsManager",
            what="AWS Secrets Manager",
            form="NAME or ARN",
            example="aws:astro/prod?region=eu-west-1#token",
            names=(
                r"(?!arn:)[A-Za-z0-9/_+=.@-]{1,512}",
                _ARN % "secretsmanager" + r"secret:[A-Za-z0-9/_+=.@-]{1,519}",
            ),
            options={
                "region": _REGION,
                "version_id": r"[A-Za-z0-9-]{32,64}",
                "stage": r"[A-Za-z0-9/_+=.@-]{1,256}",
            },
            extra="aws",
            version_option="version_id",
            credentials=_AWS,
        ),
        "aws-ssm": Scheme(
            backend="astro_token_backends.aws.parameter_store:ParameterStore",
            what="AWS Systems Manager Parameter Store",
            form="PARAMETER or ARN",
            example="aws-ssm:/astro/prod?region=eu-west-1",
            names=(
                r"/?[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){0,15}",
                _ARN % "ssm" + r"parameter(?:/[A-Za-z0-9_.-]+){1,16}",
            ),
            options={"region": _REGION, "version": r"[1-9]\d{0,9}", "label": r"[A-Za-z][A-Za-z0-9_.-]{0,99}"},
            extra="aws",
            version_option="version",
            credentials=_AWS,
        ),
        "gcp": Scheme(
            backend="astro_token_backends.gcp.secret_manager:SecretManager",
            what="Google Cloud Secret Manager",
            form="PROJECT/SECRET or projects/…/secrets/…",
            example="gcp:my-project/astro-prod",
            names=(
                rf"(?!projects/){_PROJECT}/{_GCP_SECRET}",
                rf"projects/{_PROJECT}(?:/locations/{_LOCATION})?/secrets/{_GCP_SECRET}(?:/versions/{_GCP_VERSION})?",
            ),
            options={"version": _GCP_VERSION},
            extra="gcp",
            version_option="version",
            pins=r"/versions/(?!latest$)",
            credentials=_GCP,
        ),
        "azure": Scheme(
            backend="astro_token_backends.azure.key_vault:KeyVault",
            what="Azure Key Vault secrets",
            form="VAULT/SECRET or the secret's URL",
            example="azure:my-vault/astro-prod",
            names=(
                rf"{_VAULT_NAME}/{_AZURE_NAME}",
                rf"{_AZURE_URL}/secrets/{_AZURE_NAME}(?:/[0-9a-f]{{32}})?",
            ),
            options={"version": r"[0-9a-f]{32}"},
            extra="azure",
            version_option="version",
            pins=r"/secrets/[^/]+/",
            credentials=_AZURE,
        ),
        "vault-transit": Scheme(
            backend="astro_token_backends.vault.transit:Transit",
            what="a key of Vault's or OpenBao's transit engine",
            form="KEY or MOUNT/KEY",
            example="vault-transit:astro",
            names=(rf"{_NO_OWN_PATH}{_SEGMENT}(?:/{_SEGMENT})*",),
            options={"namespace": _NAMESPACE},
            extra="vault",
            key=True,
            credentials=_VAULT,
        ),
        "aws-kms": Scheme(
            backend="astro_token_backends.aws.kms:KMS",
            what="a key of AWS KMS",
            form="KEY-ID, alias/NAME or ARN",
            example="aws-kms:alias/astro",
            names=(
                r"[A-Za-z0-9-]{1,64}",
                r"alias/[A-Za-z0-9/_-]{1,250}",
                _ARN % "kms" + r"(?:key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250})",
            ),
            options={"region": _REGION, "context.": _PRINTABLE},
            extra="aws",
            key=True,
            credentials=_AWS,
        ),
        "gcp-kms": Scheme(
            backend="astro_token_backends.gcp.kms:KMS",
            what="a key of Google Cloud KMS",
            form="projects/…/locations/…/keyRings/…/cryptoKeys/…",
            example="gcp-kms:projects/p/locations/europe-west1/keyRings/r/cryptoKeys/astro",
            names=(
                rf"projects/{_PROJECT}/locations/{_LOCATION}/keyRings/{_KEY_NAME}/cryptoKeys/{_KEY_NAME}",
            ),
            options={"context.": _PRINTABLE},
            extra="gcp",
            key=True,
            credentials=_GCP,
        ),
        "azure-keys": Scheme(
            backend="astro_token_backends.azure.keys:Keys",
            what="a key of Azure Key Vault",
            form="VAULT/KEY or the key's URL",
            example="azure-keys:my-vault/astro",
            names=(
                rf"{_VAULT_NAME}/{_AZURE_NAME}",
                rf"{_AZURE_URL}/keys/{_AZURE_NAME}(?:/[0-9a-f]{{32}})?",
            ),
            options={"version": r"[0-9a-f]{32}"},
            extra="azure",
            key=True,
            credentials=_AZURE,
        ),
    }
)

# The package by which an extra's SDK is known to be installed.
SDKS: Mapping[str, str] = MappingProxyType(
    {
        "vault": "hvac",
        "aws": "boto3",
        "gcp": "google.cloud.secretmanager",
        "azure": "azure.keyvault.secrets",
    }
)

# What does the work, by the extra, or by the scheme that has none; what the extra is there for comes first.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vault": ("hvac", "requests"),
        "aws": ("boto3", "botocore"),
        "gcp": ("google-cloud-secret-manager", "google-cloud-kms", "google-auth", "grpcio"),
        "azure": ("azure-keyvault-secrets", "azure-keyvault-keys", "azure-identity", "azure-core"),
        "file": ("pyrage",),
    }
)

# No other distribution may serve these: a scheme that changes hands would hand over secrets.
RESERVED = frozenset({*BUILTIN, "airflow", "command", "keyring"})


def credential_variables() -> frozenset[str]:
    """Every variable that a built-in backend or the CI system's identity uses as a credential."""
    return frozenset({name for scheme in BUILTIN.values() for name in scheme.credentials}).union(
        CI_IDENTITY_VARIABLES
    )
