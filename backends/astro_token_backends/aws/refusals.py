"""What AWS and its SDK refuse, and what that means for the caller."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    ConfigError,
    DecryptError,
    InvalidRefError,
    InvalidTokenError,
    SecretNotFoundError,
)
from astro_token_backends import network
from astro_token_backends.aws.login import NO_CREDENTIAL, no_credential

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["code_of", "is_of_credential", "refused", "translated"]

# By the code in the body, as the same one comes with 400, 403 and 5xx.
# The code is the status where the body has none.
_BAD_CREDENTIAL = re.compile(
    r"\w*(?:Token|Signature|Client|IDPRejected|Unauthorized|Expired|Skewed|Forbidden)\w*|OptInRequired|401"
)
_PASSING = re.compile(
    r"\w*(?:Throttl|TooMany|LimitExceeded|Unavailable|Internal|InternalService|Timeout|IDPComm|SlowDown)\w*|408|429"
)
_DENIED = re.compile(r"AccessDenied(?:Exception)?|UnauthorizedOperation|403")
_INVALID = re.compile(
    r"InvalidParameter\w*|Validation\w*|InvalidArnException|InvalidAliasName\w*|UnsupportedParameter\w*"
)

_NO_FILE = {
    *(errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOEXEC),
}
_NOT_ACCEPTED = "AWS does not accept the credential, or it cannot be obtained"
_NO_LOGIN = "AWS refuses the login"
_SECRET_KEY = ", and kms:Decrypt if the secret has its own key"
# What an operation needs, by the SDK's own name for it.
_PERMISSIONS = {
    "GetSecretValue": f"secretsmanager:GetSecretValue{_SECRET_KEY}",
    "BatchGetSecretValue": "secretsmanager:BatchGetSecretValue",
    "DescribeSecret": "secretsmanager:DescribeSecret",
    "PutSecretValue": "secretsmanager:PutSecretValue, and kms:GenerateDataKey and kms:Decrypt "
    "if the secret has its own key",
    "UpdateSecretVersionStage": "secretsmanager:UpdateSecretVersionStage",
    "GetParameter": "ssm:GetParameter, and kms:Decrypt if the parameter has its own key",
    "GetParameters": "ssm:GetParameters",
    "DescribeParameters": "ssm:DescribeParameters on *",
    "PutParameter": "ssm:PutParameter, and kms:Encrypt (for an advanced parameter kms:GenerateDataKey) "
    "if the parameter has its own key",
    "Decrypt": "kms:Decrypt on the key",
    "Encrypt": "kms:Encrypt on the key",
}
_LOGINS = {
    "AssumeRole": "allow sts:AssumeRole to the credential, and see that the role's trust policy "
    "names it, and its external id (ASTRO_TOKEN_AWS_EXTERNAL_ID)",
    "AssumeRoleWithWebIdentity": "see that the role's trust policy names the CI system's identity provider, "
    "the audience (ASTRO_TOKEN_AWS_AUDIENCE, else sts.amazonaws.com) and the job's subject",
}
_MISSING: dict[str, tuple[str, str]] = {
    "ResourceNotFoundException": (
        "there is no such secret, version or stage",
        "check the name, the region and the account",
    ),
    "InvalidRequestException": (
        "the secret is marked for deletion, or cannot be used like that",
        "`aws secretsmanager restore-secret --secret-id NAME` takes the mark off",
    ),
    "ParameterNotFound": ("there is no such parameter", "check the name, the region and the account"),
    "ParameterVersionNotFound": (
        "the parameter has no such version or label",
        "`aws ssm get-parameter-history --name NAME` lists them",
    ),
    "ParameterVersionLabelNotFound": ("the parameter has no such label", "leave the label out"),
    "NotFoundException": ("there is no such key", "check the key, the region and the account"),
    "DisabledException": ("the key is disabled", "`aws kms enable-key --key-id KEY` enables it"),
    "KMSInvalidStateException": (
        "the key is disabled, marked for deletion, or without its material",
        "`aws kms describe-key --key-id KEY` shows its state",
    ),
}
_CRYPTO: dict[str, tuple[str, str]] = {
    "DecryptionFailure": (
        "AWS cannot decrypt the secret",
        "check that its KMS key is enabled, and allow kms:Decrypt",
    ),
    "EncryptionFailure": (
        "AWS cannot encrypt the secret",
        "check that its KMS key is enabled, and allow kms:GenerateDataKey",
    ),
    "InvalidKeyId": ("the parameter's KMS key cannot be used", "check that it is there and enabled"),
    "InvalidCiphertextException": (
        "the key does not decrypt that",
        "see that the ciphertext is whole, and that key and context are those that it was encrypted with",
    ),
    "IncorrectKeyException": (
        "the ciphertext was encrypted with another key",
        "name the key that it was encrypted with",
    ),
}
_CONFIG: dict[str, tuple[str, str]] = {
    "RegionDisabledException": ("STS is switched off in this region", "switch it on, or use another region"),
    "InvalidKeyUsageException": (
        "the key is not made for encryption",
        "name a symmetric key for encryption and decryption",
    ),
    "ParameterMaxVersionLimitExceeded": (
        "the parameter has all the versions that it can have, and its oldest has a label",
        "take the label off the oldest version",
    ),
}


def translated(error: Exception) -> AstroTokenError:
    """The error that one of the SDK's stands for, with nothing of its text."""
    from botocore import exceptions as sdk
    from botocore.parsers import ResponseParserError

    match error:
        case sdk.ClientError():
            metadata = error.response.get("ResponseMetadata", {})
            return refused(
                code_of(error),
                error.operation_name,
                metadata.get("HTTPStatusCode", 0),
                _retry_after(metadata.get("HTTPHeaders")),
            )
        case sdk.PartialCredentialsError():
            return AccessDeniedError(
                "only a part of an AWS credential is set",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
            )
        case sdk.NoCredentialsError() | sdk.MetadataRetrievalError():
            return no_credential()
        case sdk.HTTPClientError() | sdk.ConnectionError():
            return network.connection_failure(error)
        case (
            sdk.CredentialRetrievalError()
            | sdk.SSOError()
            | sdk.TokenRetrievalError()
            | sdk.NoAuthTokenError()
        ):
            return _bad_credential()
        case (
            sdk.ProfileNotFound()
            | sdk.ConfigParseError()
            | sdk.ConfigNotFound()
            | sdk.InvalidConfigError()
            | sdk.InvalidRegionError()
            | sdk.EndpointProviderError()
            | sdk.InfiniteLoopConfigError()
        ):
            return ConfigError(
                "the AWS profile, configuration file or region is not usable",
                hint="check AWS_PROFILE, AWS_CONFIG_FILE, AWS_REGION, and what they name",
            )
        case ResponseParserError():
            return network.damaged()
        case sdk.ParamValidationError():
            return _invalid("")
        case sdk.BotoCoreError():
            return BackendError(f"the SDK of AWS failed with {type(error).__name__}")
        case ValueError() | AttributeError() | TypeError() | LookupError() | RecursionError():
            return network.damaged()  # the SDK stumbled over what it was answered
        case OSError() if error.errno in _NO_FILE:
            return ConfigError(
                "a file or program that gives the AWS credential is not there, or cannot be read or run",
                hint="check AWS_WEB_IDENTITY_TOKEN_FILE, and what the profile names",
            )
    return BackendError(f"the SDK of AWS failed with {type(error).__name__}")


def is_of_credential(error: AstroTokenError) -> bool:
    """True where there is no credential that AWS accepts, so that asking for anything else is in vain."""
    return error.message in {_NOT_ACCEPTED, _NO_LOGIN, NO_CREDENTIAL}


def code_of(error: Any) -> str:
    """The code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code"))


def refused(
    code: str, operation: str, status: int = 400, retry_after: float | None = None
) -> AstroTokenError:
    """
    Args:
        code: from the answer; nothing of it gets into the error.
        operation: the SDK's name of it, by which a denied permission is named.
    """
    kinds: tuple[tuple[dict[str, tuple[str, str]], Callable[..., AstroTokenError]], ...] = (
        (_MISSING, SecretNotFoundError),
        (_CRYPTO, DecryptError),
        (_CONFIG, ConfigError),
    )
    for known, kind in kinds:
        if code in known:
            message, hint = known[code]
            return kind(message, hint=hint)
    if _PASSING.fullmatch(code):
        return network.busy(retry_after)
    if operation in _LOGINS and status < 500:  # noqa: PLR2004
        return AccessDeniedError(_NO_LOGIN, hint=_LOGINS[operation])
    if _DENIED.fullmatch(code):
        needed = _PERMISSIONS.get(operation, f"the operation {operation}")
        return AccessDeniedError("AWS denies it", hint=f"allow {needed}; check the account and the region")
    if _INVALID.fullmatch(code):
        return _invalid(operation)
    if code == "ParameterPatternMismatchException":
        return InvalidTokenError(
            "the parameter's allowed pattern does not fit the value", hint="change the pattern"
        )
    if _BAD_CREDENTIAL.fullmatch(code):
        return _bad_credential()
    if status >= 500:  # noqa: PLR2004
        return network.busy(retry_after)
    return BackendError("AWS refused the request in a way that is not known here")


def _invalid(operation: str) -> AstroTokenError:
    if operation == "PutParameter":
        return InvalidRefError(
            "AWS does not accept the parameter's name, or the value is too long",
            hint="a standard parameter holds 4 KiB, an advanced one 8 KiB",
        )
    return InvalidRefError(
        "AWS does not accept the reference", hint="check its name, version and stage, and an ARN's region"
    )


def _retry_after(headers: Any) -> float | None:
    from astro_token_backends.aws.transport import retry_after

    return retry_after(headers) if isinstance(headers, dict) else None


def _bad_credential() -> AccessDeniedError:
    return AccessDeniedError(
        _NOT_ACCEPTED,
        hint="renew it (for SSO by aws sso login), and check this machine's clock",
    )
