"""AWS Secrets Manager: `aws:NAME`, through botocore, the core of boto3."""

from __future__ import annotations

import math
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendError,
    ConfigError,
    DecryptError,
    InvalidRefError,
    SecretNotFoundError,
)
from astro_token.secret import SecretValue
from astro_token_backends import network

if TYPE_CHECKING:
    from astro_token.ref import SecretRef

__all__ = ["SecretsManager"]

_ADDRESSES = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
# Where the SDK's chain of credentials may send an identity.
_LOGIN_ADDRESSES = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC")
_OPTIONS = {"version_id": "VersionId", "stage": "VersionStage"}

# By the code in the body, as the same one comes with 400, 403 and 5xx.
# The code is the status where the body has none.
_BAD_CREDENTIAL = re.compile(
    r"\w*(?:Token|Signature|Client|IDPRejected|Unauthorized|Expired|Skewed)\w*|OptInRequired|401"
)
_PASSING = re.compile(
    r"\w*(?:Throttl|TooManyRequests|LimitExceeded|Unavailable|InternalService|Timeout|IDPComm)\w*|408|429"
)

_METADATA_SECONDS = 1


class SecretsManager:
    """
    Reads a secret's text or bytes, of the stage AWSCURRENT unless the reference says otherwise.

    Credentials: the SDK's chain, which is keys in the environment, a web identity's file, a profile
    (with roles and SSO), and the role of a container or an instance.
    Permissions: `secretsmanager:GetSecretValue`, and `kms:Decrypt` where the secret has a key of its own.
    Reference: `aws:astro/prod?region=eu-west-1#token`.
    Requests: 1 with keys from the environment.

    Args:
        client: the SDK's, for all regions.
    """

    def __init__(self, client: Any = None) -> None:
        import botocore.session

        self._injected = client
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()
        self._bundle: Path | None = None

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        outcome = self._attempt(ref, timeout)
        if isinstance(outcome, AstroTokenError):
            raise outcome.with_traceback(None)
        return outcome

    def close(self) -> None:
        bundle, self._bundle = self._bundle, None
        if bundle is not None:
            bundle.unlink(missing_ok=True)

    def _attempt(self, ref: SecretRef, timeout: float) -> SecretValue | AstroTokenError:
        asked = {_OPTIONS[name]: value for name, value in ref.options.items() if name in _OPTIONS}
        try:
            client = self._injected or self._client(ref, timeout)
            return _value(client.get_secret_value(SecretId=ref.name, **asked))
        except AstroTokenError as error:
            return error
        except Exception as error:  # noqa: BLE001 (an SDK raises what it likes)
            return _translated(error)

    def _client(self, ref: SecretRef, timeout: float) -> Any:
        # The SDK fixes the timeouts with the client; whole seconds keep the clients few.
        seconds = max(1, math.ceil(timeout))
        with self._lock:  # a session is not safe between threads, the clients that it makes are
            region = self._region(ref)
            if (region, seconds) not in self._clients:
                self._clients[region, seconds] = self._make(region, seconds)
            return self._clients[region, seconds]

    def _make(self, region: str, seconds: int) -> Any:
        from botocore.config import Config

        session, endpoint = self._session, self._endpoint()
        extra = network.extra_authorities()
        if extra is not None and self._bundle is None:
            self._bundle = _bundle(session.get_config_variable("ca_bundle"), extra)
            session.set_config_variable("ca_bundle", str(self._bundle))
        session.set_config_variable("metadata_service_num_attempts", 1)
        if "AWS_EC2_METADATA_V1_DISABLED" not in os.environ:
            # Falling back to the first version is unsafe, and doubles the second that it takes
            # to find out that this is no instance.
            session.set_config_variable("ec2_metadata_v1_disabled", True)
        once = {
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "connect_timeout": seconds,
            "read_timeout": seconds,
        }
        # For the clients that the chain of credentials makes for itself: an address of the environment comes
        # before a profile's in any case, and where there is none, a profile's is not followed.
        from_environment = any(map(os.environ.get, ("AWS_ENDPOINT_URL", *_LOGIN_ADDRESSES)))
        session.set_default_client_config(
            Config(**once, ignore_configured_endpoint_urls=not from_environment)
        )
        _ask_metadata_directly(session)
        if session.get_credentials() is None:
            raise _no_credential()
        config = Config(
            **once,
            # The environment's address is given below; a profile's is not followed.
            ignore_configured_endpoint_urls=True,
            # What is in clear goes to this machine only, not to a proxy.
            proxies={} if endpoint and endpoint.startswith("http:") else None,
        )
        return session.create_client(
            "secretsmanager", region_name=region, endpoint_url=endpoint, config=config
        )

    def _region(self, ref: SecretRef) -> str:
        region = (
            ref.options.get("region")
            or (ref.name.split(":")[3] if ref.name.startswith("arn:") else None)
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or self._session.get_config_variable("region")
        )
        if not region:
            raise ConfigError(
                "no AWS region is set", hint="set AWS_REGION, add ?region=… to the reference, or give an ARN"
            )
        return str(region)

    def _endpoint(self) -> str | None:
        for name in (*_ADDRESSES, *_LOGIN_ADDRESSES):
            if os.environ.get(name):
                network.refuse_plain_http(os.environ[name], name)
        if self._session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        return next((os.environ[name] for name in _ADDRESSES if os.environ.get(name)), None)


def _ask_metadata_directly(session: Any) -> None:
    """The role's credentials are in clear between a machine and its metadata: no proxy may see them."""
    from botocore.httpsession import URLLib3Session

    for provider in session.get_component("credential_provider").providers:
        fetcher: Any = getattr(provider, "_role_fetcher", None) or getattr(provider, "_fetcher", None)
        if hasattr(fetcher, "_session"):
            fetcher._session = URLLib3Session(timeout=_METADATA_SECONDS, proxies={})  # noqa: SLF001 (no other way)


def _bundle(trusted: Any, extra: str) -> Path:
    """A file with what the SDK trusts and what we add, for it takes one file and nothing else."""
    from tempfile import mkstemp

    from botocore.httpsession import where

    certificates = network.trusted_by(trusted or where(), "AWS_CA_BUNDLE or the profile").decode()
    descriptor, name = mkstemp(prefix="astro-token-authorities-", suffix=".pem")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{certificates}\n{extra}")
    return Path(name)


def _value(answer: Any) -> SecretValue | AstroTokenError:
    # To the SDK a damaged body is an answer without fields, and no error.
    text, data, version = (answer.get(name) for name in ("SecretString", "SecretBinary", "VersionId"))
    if isinstance(text, str):
        data = text.encode("utf-8", errors="surrogatepass")
    named = isinstance(version, str) and re.fullmatch(r"[A-Za-z0-9-]{1,64}", version)
    return SecretValue(data, version) if named and isinstance(data, bytes) else network.damaged()


def _translated(error: Exception) -> AstroTokenError:
    from botocore import exceptions as sdk
    from botocore.parsers import ResponseParserError

    match error:
        case sdk.ClientError():
            metadata = error.response.get("ResponseMetadata", {})
            code = str(error.response.get("Error", {}).get("Code"))
            return _refused(code, metadata.get("HTTPStatusCode", 0))
        case sdk.NoCredentialsError() | sdk.PartialCredentialsError() | sdk.MetadataRetrievalError():
            return _no_credential()
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
            | sdk.InvalidConfigError()
            | sdk.InvalidRegionError()
        ):
            return ConfigError(
                "the AWS profile, configuration file or region is not usable",
                hint="check AWS_PROFILE, AWS_CONFIG_FILE, AWS_REGION, and what they name",
            )
        case ResponseParserError():
            return network.damaged()
        case sdk.BotoCoreError():
            return BackendError(f"the SDK of AWS failed with {type(error).__name__}")
        case ValueError() | AttributeError() | TypeError() | LookupError() | RecursionError():
            return network.damaged()  # the SDK stumbled over what it was answered
    return BackendError(f"the SDK of AWS failed with {type(error).__name__}")


def _refused(code: str, status: int) -> AstroTokenError:
    match code:
        case "ResourceNotFoundException" | "InvalidRequestException":
            return SecretNotFoundError(
                "there is no such secret, version or stage, or it is marked for deletion",
                hint="check the name, the region and the account",
            )
        case "AccessDeniedException" | "AccessDenied" | "403":
            return AccessDeniedError(
                "AWS denies access to the secret",
                hint="allow secretsmanager:GetSecretValue, and kms:Decrypt if the secret has its own key; "
                "check the account and the region",
            )
        case "InvalidParameterException" | "ValidationException":
            return InvalidRefError(
                "AWS does not accept the reference",
                hint="check its name, version and stage, and an ARN's region",
            )
        case "DecryptionFailure":
            return DecryptError(
                "AWS cannot decrypt the secret",
                hint="check that its KMS key is enabled, and allow kms:Decrypt",
            )
    if _BAD_CREDENTIAL.fullmatch(code):
        return _bad_credential()
    if _PASSING.fullmatch(code) or status >= 500:  # noqa: PLR2004
        return network.busy()
    if 300 <= status < 400:  # noqa: PLR2004
        return network.redirected()
    return BackendError("AWS refused the request in a way that is not known here")


def _no_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "there is no AWS credential",
        hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; looked for: the environment, "
        "AWS_WEB_IDENTITY_TOKEN_FILE, profiles and SSO, the role of a container, the role of an instance",
    )


def _bad_credential() -> AccessDeniedError:
    return AccessDeniedError(
        "AWS does not accept the credential, or it cannot be obtained",
        hint="renew it (for SSO by aws sso login), and check this machine's clock",
    )
