"""The errors that stand for the refusals of AWS and the exceptions of botocore."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    DecryptError,
    InvalidRefError,
    InvalidTokenError,
    NoCredentialError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token_backends.aws.credential_source import CONTAINER_VARIABLES, PROFILE_VARIABLES, unusable_file
from astro_token_backends.aws.settings import setting
from astro_token_backends.credential_source import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from astro_token.transport.route import Route

__all__ = ["damaged", "is_of_credential", "is_refusal", "login_error", "refused", "translated"]

# Patterns of the code in the body, because the same code comes with 400, 403 and 5xx.
# The code is the status if the body has none.
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

_NO_CREDENTIAL = "there is no AWS credential"
_FAILED = "cannot log in to AWS with "
_NOT_ACCEPTED = "AWS does not accept the credential, or it cannot be obtained"
_NO_LOGIN = "AWS refuses the login"
# Classes of botocore, some of which older versions lack. They stand for a credential that cannot be obtained.
_UNOBTAINABLE = {
    *("CredentialRetrievalError", "SSOError", "LoginError", "TokenRetrievalError", "NoAuthTokenError"),
    "RefreshWithMFAUnsupportedError",
}
_MALFORMED = "a setting, a file or an output is missing or malformed"
_LOGIN_ERRORS: tuple[tuple[set[str], Callable[..., AstroTokenError], str], ...] = (
    ({"PartialCredentialsError"}, AccessDeniedError, "a part of the keys is missing"),
    (
        {"UnauthorizedSSOTokenError", "LoginRefreshRequired"},
        AccessDeniedError,
        "the session has expired, or was revoked",
    ),
    (_UNOBTAINABLE, AccessDeniedError, "it provides no credential"),
    ({"RuntimeError"}, AccessDeniedError, "the credential has expired"),
    ({"TimeoutError"}, AccessDeniedError, "it did not end in time"),
    ({"OSError"}, ConfigError, "a file or program cannot be used"),
    ({"InvalidConfigError", "UnknownCredentialError"}, ConfigError, _MALFORMED),
)
# The variables whose values they refuse.
_SETTING_ERRORS = {
    "ProfileNotFound": PROFILE_VARIABLES,
    "InvalidConfigError": PROFILE_VARIABLES,
    "InvalidRegionError": "AWS_REGION, and the profile's region",
    "EndpointProviderError": "AWS_REGION, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT",
    "EndpointVariantError": "AWS_REGION, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT",
    "InvalidIMDSEndpointError": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "InvalidIMDSEndpointModeError": "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "InvalidSTSRegionalEndpointsConfigError": "AWS_STS_REGIONAL_ENDPOINTS",
}
_SECRET_KEY = ", and kms:Decrypt if the secret has its own key"
# The permissions that an operation needs, by botocore's name for it.
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
    "AssumeRole": "allow sts:AssumeRole to the credential, and check that the role's trust policy "
    "names it, and its external id (ASTRO_TOKEN_AWS_EXTERNAL_ID)",
    "AssumeRoleWithWebIdentity": "check that the role's trust policy names the CI system's identity "
    "provider, the audience (ASTRO_TOKEN_AWS_AUDIENCE, else sts.amazonaws.com) and the job's subject",
}
_MISSING = {
    "ResourceNotFoundException": (
        "the secret, version or stage does not exist",
        "check the name, the region and the account",
    ),
    "ParameterNotFound": ("the parameter does not exist", "check the name, the region and the account"),
    "ParameterVersionNotFound": (
        "the parameter has no such version or label",
        "list them with `aws ssm get-parameter-history --name NAME`",
    ),
    "ParameterVersionLabelNotFound": (
        "the parameter has no such label",
        "remove the label from the reference",
    ),
    "NotFoundException": ("the key does not exist", "check the key, the region and the account"),
}
_UNUSABLE = {
    "InvalidRequestException": (
        "the secret is marked for deletion, or does not allow this operation",
        "restore it with `aws secretsmanager restore-secret --secret-id NAME`",
    ),
    "DisabledException": ("the key is disabled", "enable it with `aws kms enable-key --key-id KEY`"),
    "KMSInvalidStateException": (
        "the key is disabled, marked for deletion, or without its material",
        "show its state with `aws kms describe-key --key-id KEY`",
    ),
}
_CRYPTO = {
    "DecryptionFailure": (
        "AWS cannot decrypt the secret",
        "check that its KMS key is enabled, and allow kms:Decrypt",
    ),
    "EncryptionFailure": (
        "AWS cannot encrypt the secret",
        "check that its KMS key is enabled, and allow kms:GenerateDataKey",
    ),
    "InvalidKeyId": ("the parameter's KMS key cannot be used", "check that it exists and is enabled"),
    "InvalidCiphertextException": (
        "the key does not decrypt this ciphertext",
        "check that the ciphertext is complete, and was encrypted with the same key and context",
    ),
    "IncorrectKeyException": (
        "the ciphertext was encrypted with another key",
        "use the key that it was encrypted with",
    ),
}
_CONFIG = {
    "RegionDisabledException": ("STS is disabled in this region", "enable it, or use another region"),
    "InvalidKeyUsageException": (
        "the key is not for encryption",
        "use a symmetric key for encryption and decryption",
    ),
    "ParameterMaxVersionLimitExceeded": (
        "the parameter has the largest number of versions, and the oldest has a label",
        "remove the label from the oldest version",
    ),
}


_INVALID_VALUE = {
    "ParameterPatternMismatchException": (
        "the value does not match the parameter's allowed pattern",
        "change the pattern",
    )
}
_REFUSALS: dict[type[AstroTokenError], dict[str, tuple[str, str]]] = {
    SecretNotFoundError: _MISSING,
    UnusableSecretError: _UNUSABLE,
    DecryptError: _CRYPTO,
    ConfigError: _CONFIG,
    InvalidTokenError: _INVALID_VALUE,
}


def translated(error: Exception) -> AstroTokenError:
    """The error that stands for an exception of botocore, with nothing of its text."""
    from botocore import exceptions as sdk
    from botocore.parsers import ResponseParserError

    match error:
        case sdk.ClientError():
            metadata = error.response.get("ResponseMetadata", {})
            status, headers = metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders")
            return refused(_code(error), error.operation_name, status, _retry_after(headers))
        case sdk.PartialCredentialsError():
            return AccessDeniedError(
                "only a part of an AWS credential is set",
                hint="set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
            )
        case sdk.ConfigParseError():
            return ConfigError(
                f"the AWS configuration file {printable_path(str(error.kwargs['path']))} is malformed",
                hint="correct it, or change AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE",
            )
        case sdk.NoCredentialsError() | sdk.MetadataRetrievalError():
            return _no_credential()
        case sdk.HTTPClientError() | sdk.ConnectionError():  # of a client that was given
            from astro_token.transport.failure import connection_failure

            return connection_failure(error, _route())
        case sdk.ParamValidationError():
            return _invalid("")
        # ValueError and its like: botocore failed to parse the response.
        case (
            ResponseParserError()
            | ValueError()
            | AttributeError()
            | TypeError()
            | LookupError()
            | RecursionError()
        ) if not isinstance(error, sdk.BotoCoreError):
            return damaged()
    if _classes(error) & _UNOBTAINABLE:
        return _bad_credential()
    for name in _classes(error) & _SETTING_ERRORS.keys():
        unusable = unusable_file() if name == "ProfileNotFound" else None
        return ConfigError(
            unusable or "a setting of AWS is not usable", hint=f"check {_SETTING_ERRORS[name]}"
        )
    return BackendError(f"botocore failed with {type(error).__name__}")


def login_error(error: Exception, source: str, hint: str, *, is_local: bool) -> AstroTokenError:
    """
    The error that stands for an exception of botocore's credential chain.

    Args:
        source: of the credential.
        hint: for that source.
        is_local: no request was sent, so that no service is the cause.
    """
    kinds = _classes(error) - ({"RuntimeError"} if isinstance(error, RecursionError) else set())
    if "MissingDependencyException" in kinds:
        from astro_token.system.installation import install_hint

        return ConfigError(  # a login is configured, so that a chain must not continue
            f"{_FAILED}{source}: the Python package awscrt is not installed",
            hint=install_hint("aws-login"),
        )
    for names, kind, defect in _LOGIN_ERRORS:
        if kinds & names:
            return kind(f"{_FAILED}{source}: {defect}", hint=hint)
    if not is_local or kinds & {"ConfigParseError", *_SETTING_ERRORS}:
        return translated(error)
    return ConfigError(f"{_FAILED}{source}: {_MALFORMED}", hint=hint)


def _classes(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def is_of_credential(error: AstroTokenError) -> bool:
    """True if AWS accepts no credential of ours, so that every other request would fail too."""
    return error.message.startswith((_NOT_ACCEPTED, _NO_LOGIN, _NO_CREDENTIAL, _FAILED))


def is_refusal(error: Exception, operation: str, codes: Collection[str] = ()) -> bool:
    """True if AWS refused an operation, by botocore's name; with one of the codes, if any are given."""
    if getattr(error, "operation_name", "") != operation:
        return False
    return not codes or _code(error) in codes


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def refused(
    code: str, operation: str, status: int = 400, retry_after: float | None = None
) -> AstroTokenError:
    """
    Args:
        code: from the response. It is not shown.
        operation: botocore's name. The permission that it needs is named if it is denied.
    """
    for kind, messages in _REFUSALS.items():
        if code in messages:
            message, hint = messages[code]
            return kind(message, hint=hint)
    if _PASSING.fullmatch(code):
        return _busy(retry_after)
    if operation in _LOGINS and status < 500:  # noqa: PLR2004
        return AccessDeniedError(_NO_LOGIN, hint=_LOGINS[operation])
    if _DENIED.fullmatch(code):
        needed = _PERMISSIONS.get(operation, f"the operation {operation}")
        return AccessDeniedError(
            "AWS denies the request", hint=f"allow {needed}; check the account and the region"
        )
    if _INVALID.fullmatch(code):
        return _invalid(operation)
    if _BAD_CREDENTIAL.fullmatch(code):
        return _bad_credential()
    if status >= 500:  # noqa: PLR2004
        from astro_token.transport.failure import busy

        return busy(_route(), status, retry_after)
    return BackendError("AWS refused the request with an unknown code")


def _invalid(operation: str) -> AstroTokenError:
    if operation == "PutParameter":
        return InvalidRefError(
            "AWS does not accept the parameter's name, or the value is too long",
            hint="a standard parameter holds 4 KiB, an advanced one 8 KiB",
        )
    return InvalidRefError(
        "AWS does not accept the reference", hint="check its name, version and stage, and an ARN's region"
    )


def damaged() -> AstroTokenError:
    from astro_token.transport.failure import damaged as damaged_response

    return damaged_response(_route())


def _busy(retry_after: float | None) -> BackendUnavailableError:
    return BackendUnavailableError("AWS is busy, or failed", hint="try again later", retry_after=retry_after)


def _route() -> Route:
    """The name of the service and of its setting, for messages."""
    from astro_token.transport.address import Address
    from astro_token.transport.route import Route

    return Route(Address("https", "amazonaws.com", 443), "AWS", "AWS_ENDPOINT_URL")


def _retry_after(headers: Any) -> float | None:
    from astro_token.transport.failure import seconds_to_wait

    # botocore keeps the names in lower case.
    return seconds_to_wait({name.title(): text for name, text in headers.items()}) if headers else None


def _bad_credential() -> AccessDeniedError:
    from astro_token.ci import in_ci

    return AccessDeniedError(
        _NOT_ACCEPTED,
        hint=f"renew it{'' if in_ci(os.environ) else ' (for SSO by aws sso login)'}, "
        "and check this machine's clock",
    )


def _no_credential() -> AstroTokenError:
    """The error without a credential. It lists every source with the setting that it depends on."""
    from astro_token.ci.identity import identity_hint

    if unusable := unusable_file():
        return ConfigError(
            f"{_NO_CREDENTIAL}, and {unusable}",
            hint="check AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE",
        )
    container = _state(*CONTAINER_VARIABLES)
    disabled = setting("AWS_EC2_METADATA_DISABLED")
    instance = "not an instance"
    if disabled:
        is_set = "is set" if disabled.lower() == "true" else f"is not true; {instance}"
        instance = f"AWS_EC2_METADATA_DISABLED {is_set}"
    job = _state("AWS_ROLE_ARN")
    if os.environ.get("AWS_ROLE_ARN"):
        job += f", but there is no such identity; {identity_hint() or 'set ASTRO_TOKEN_ID_TOKEN'}"
    return NoCredentialError(
        _NO_CREDENTIAL,
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or in CI AWS_ROLE_ARN; "
        "looked for: "
        f"keys ({_state('AWS_ACCESS_KEY_ID')}), "
        f"a web identity's file ({_state('AWS_WEB_IDENTITY_TOKEN_FILE')}), "
        f"a profile with keys, a role, SSO or a program ({_state('AWS_PROFILE')}), "
        f"a container's role ({container}), "
        f"an instance's role ({instance}), "
        f"the CI system's identity ({job})",
    )


def _state(*names: str) -> str:
    for name in names:
        if name in os.environ:
            return f"{name} is {'set' if os.environ[name] else 'empty'}"
    return f"{names[0]} is not set"
