"""AWS: secrets of Secrets Manager and of Parameter Store, keys of KMS."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LOGGERS", "SCHEMES"]

LOGGERS = ("boto3", "botocore", "s3transfer", "urllib3")
_SERVICE: dict[str, Any] = {
    "extra": "aws",
    "sdk": "boto3",
    "distributions": ("boto3", "botocore"),
    "loggers": LOGGERS,
    "credentials": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_CREDENTIAL_FILE",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_LOGIN_CACHE_DIRECTORY",
        "BOTO_CONFIG",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "ASTRO_TOKEN_AWS_EXTERNAL_ID",
    ),
    "settings": (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CA_BUNDLE",
        "AWS_DATA_PATH",
        "AWS_DEFAULTS_MODE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "AWS_EC2_METADATA_V1_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "AWS_ENDPOINT_URL_SIGNIN",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_ENDPOINT_URL_SSO",
        "AWS_ENDPOINT_URL_SSO_OIDC",
        "AWS_ENDPOINT_URL_STS",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_MAX_ATTEMPTS",
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
        "AWS_METADATA_SERVICE_TIMEOUT",
        "AWS_RETRY_MODE",
        "AWS_SDK_UA_APP_ID",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN",
        "ASTRO_TOKEN_AWS_AUDIENCE",
    ),
    "prefixes": ("AWS_", "BOTO_"),
}
_REGION = r"[a-z]{2,3}(?:-[a-z]+){1,3}-\d{1,2}"
_ARN = rf"arn:aws[a-z-]{{0,20}}:%s:{_REGION}:\d{{12}}:"

SCHEMES = {
    "aws": Scheme(
        backend="astro_token_backends.aws.secrets_manager:SecretsManager",
        description="AWS Secrets Manager",
        form="NAME or ARN",
        example="aws:astro/prod?region=eu-west-1#token",
        grammar=(
            r"(?!arn:)[A-Za-z0-9/_+=.@-]{1,512}",
            _ARN % "secretsmanager" + r"secret:[A-Za-z0-9/_+=.@-]{1,519}",
        ),
        options={
            "region": _REGION,
            "version_id": r"[A-Za-z0-9-]{32,64}",
            "stage": r"[A-Za-z0-9/_+=.@-]{1,256}",
        },
        version_option="version_id",
        pinning_options=("version_id", "stage"),
        canonical="astro_token_backends.aws.secrets_manager:canonical",
        rotation_suffix="-rotation",
        added_end=r"(arn:.+)-[A-Za-z0-9]{6}",
        **_SERVICE,
    ),
    "aws-ssm": Scheme(
        backend="astro_token_backends.aws.parameter_store:ParameterStore",
        description="AWS Systems Manager Parameter Store",
        form="PARAMETER or ARN",
        example="aws-ssm:/astro/prod?region=eu-west-1",
        grammar=(
            r"/?[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){0,15}",
            _ARN % "ssm" + r"parameter(?:/[A-Za-z0-9_.-]+){1,16}",
        ),
        options={"region": _REGION, "version": r"[1-9]\d{0,9}", "label": r"[A-Za-z][A-Za-z0-9_.-]{0,99}"},
        version_option="version",
        pinning_options=("version", "label"),
        canonical="astro_token_backends.aws.parameter_store:canonical",
        rotation_suffix="-rotation",
        **_SERVICE,
    ),
    "aws-kms": Scheme(
        backend="astro_token_backends.aws.kms:KMS",
        description="a key of AWS KMS",
        form="KEY-ID, alias/NAME or ARN",
        example="aws-kms:alias/astro",
        grammar=(
            r"[A-Za-z0-9-]{1,64}",
            r"alias/[A-Za-z0-9/_-]{1,250}",
            _ARN % "kms" + r"(?:key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250})",
        ),
        options={"region": _REGION, "context.": r"[^\x00-\x1f\x7f]+"},
        key=True,
        **_SERVICE,
    ),
}
