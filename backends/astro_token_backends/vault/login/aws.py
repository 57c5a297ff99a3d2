"""
The identity of an AWS principal: a request to ask who it is, signed and not sent.

Vault sends it to AWS's token service and takes the answer for the caller's identity.
It has to be signed for the place that Vault sends it to,
which is `sts.amazonaws.com` unless its operator says otherwise.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astro_token.deadline import Deadline
from astro_token.errors import AccessDeniedError, AstroTokenError, BackendError, ConfigError
from astro_token_backends import network
from astro_token_backends.boundary import across
from astro_token_backends.vault.login.asked import missing_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astro_token_backends.vault.login.asked import Asked

__all__ = ["aws"]

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_REGION = re.compile(r"[a-z]{2}(?:-gov)?-[a-z]+-\d{1,2}")
_GLOBAL = "us-east-1"  # for which sts.amazonaws.com wants its requests signed
# Where the SDK's chain of credentials may send an identity.
_ADDRESSES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC")
_METADATA_SECONDS = 0.8  # each of two requests
_BUSY = 429


def aws(asked: Asked) -> Any:
    role = asked.required("ASTRO_TOKEN_VAULT_ROLE")
    region, url = _token_service(asked)
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if server := asked.text("ASTRO_TOKEN_VAULT_AUDIENCE"):
        if not re.fullmatch(r"[!-~]+", server):
            raise ConfigError(
                "ASTRO_TOKEN_VAULT_AUDIENCE is malformed",
                hint="give the method's iam_server_id_header_value, as in vault.example.com",
            )
        headers["X-Vault-AWS-IAM-Server-ID"] = server
    for name in _ADDRESSES:
        if address := asked.text(name):
            network.refuse_plain_http(address, name)
    signed = Deadline(asked.seconds).once(
        lambda seconds: across(lambda: _signed(region, url, headers, seconds), _translated)
    )
    return asked.post(
        role=role,
        iam_http_request_method="POST",
        iam_request_url=_code(url),
        iam_request_body=_code(_BODY),
        iam_request_headers=_code(json.dumps(signed)),
    )


def _token_service(asked: Asked) -> tuple[str, str]:
    """The region to sign for, and the address."""
    region = asked.text("AWS_REGION") or asked.text("AWS_DEFAULT_REGION") or _GLOBAL
    if not _REGION.fullmatch(region):
        raise ConfigError("AWS_REGION is malformed", hint="as in AWS_REGION=eu-west-1")
    # China and the government's regions know nothing of the global address.
    own = asked.text("AWS_STS_REGIONAL_ENDPOINTS") == "regional" or region.startswith(("cn-", "us-gov-"))
    if not own:
        return _GLOBAL, "https://sts.amazonaws.com/"
    return region, f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _signed(region: str, url: str, headers: dict[str, str], seconds: float) -> dict[str, str]:
    """The headers of the request, with the signature among them."""
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.config import Config
        from botocore.session import Session
    except ModuleNotFoundError:
        raise missing_package("aws", "botocore", "aws") from None
    session = Session()
    session.set_config_variable("metadata_service_timeout", _METADATA_SECONDS)
    once = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
    session.set_default_client_config(once)
    with _trusting(session):
        found = session.get_credentials()
        credential = found.get_frozen_credentials() if found else None
    if credential is None:
        raise AccessDeniedError(
            "no usable credential for Vault: the login by aws finds no AWS credential",
            hint="looked for AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_PROFILE and the AWS CLI's "
            "files, and for the role of a container or an instance",
        )
    request = AWSRequest("POST", url, headers=headers, data=_BODY)
    SigV4Auth(credential, "sts", region).add_auth(request)
    return dict(request.headers.items())


@contextmanager
def _trusting(session: Any) -> Iterator[None]:
    """Adds our authorities to those of the SDK, which takes one file only."""
    extra = network.extra_authorities()
    if extra is None:
        yield
        return
    from tempfile import NamedTemporaryFile

    from botocore.httpsession import where

    own = network.trusted_by(
        session.get_config_variable("ca_bundle") or where(), "AWS_CA_BUNDLE or the profile"
    )
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(own + b"\n" + extra.encode())
        file.flush()
        session.set_config_variable("ca_bundle", file.name)
        yield


def _translated(error: Exception) -> AstroTokenError:
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError

    if isinstance(error, known.ClientError):
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(answer.get("Error", {}).get("Code", ""))
        if status >= 500 or status == _BUSY or "Throttl" in code or code.startswith("IDPComm"):  # noqa: PLR2004
            return network.busy()
        return AccessDeniedError(
            "AWS refuses the role or the session that the login by aws would use",
            hint="see the profile, and who may assume the role",
        )
    if isinstance(error, ResponseParserError):
        return network.damaged()
    if isinstance(error, known.ConnectionError | known.HTTPClientError):
        return network.connection_failure(error)
    if isinstance(
        error,
        known.ProfileNotFound
        | known.ConfigNotFound
        | known.ConfigParseError
        | known.InvalidConfigError
        | known.PartialCredentialsError,
    ):
        return ConfigError(
            "the AWS configuration that the login by aws would use is not complete, or cannot be read",
            hint="see AWS_PROFILE, AWS_CONFIG_FILE, and the variables and files of credentials",
        )
    if isinstance(error, known.BotoCoreError):
        return AccessDeniedError(
            f"the AWS credential for the login by aws cannot be had ({type(error).__name__})",
            hint="see the profile; log in with `aws sso login` where it is one of SSO",
        )
    return BackendError(f"the AWS SDK failed with {type(error).__name__}", hint="report it with its version")


def _code(text: str) -> str:
    return b64encode(text.encode()).decode()
