"""
The login with the identity of an AWS principal: a signed request to GetCallerIdentity.

Vault sends it to AWS's token service (STS), whose response proves the caller's identity.
It must be signed for the endpoint that Vault calls: `sts.amazonaws.com`, unless its operator set another.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, ConfigError
from astro_token.transport.deadline import Deadline
from astro_token_backends.boundary import call_sdk
from astro_token_backends.vault.login.context import Credential, missing_package

if TYPE_CHECKING:
    from astro_token_backends.vault.login.context import LoginContext

__all__ = ["aws"]

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_REGION = r"[a-z]{2}(?:-gov)?-[a-z]+-\d{1,2}"
_GLOBAL = "us-east-1"  # requests to sts.amazonaws.com are signed for it


def aws(context: LoginContext) -> Credential:
    role = context.required("ASTRO_TOKEN_VAULT_ROLE")
    region, url = _token_service(context)
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if server := context.text("ASTRO_TOKEN_VAULT_AUDIENCE"):
        if not re.fullmatch(r"[!-~]+", server):
            raise ConfigError(
                "ASTRO_TOKEN_VAULT_AUDIENCE is malformed",
                hint="use the iam_server_id_header_value of the method, for example vault.example.com",
            )
        headers["X-Vault-AWS-IAM-Server-ID"] = server
    source, signed = Deadline(context.seconds).once(
        lambda seconds: call_sdk(lambda: _signed(context, region, url, headers, seconds), _translated)
    )
    return Credential(
        context.with_role(source),
        lambda: context.post(
            role=role,
            iam_http_request_method="POST",
            iam_request_url=_code(url),
            iam_request_body=_code(_BODY),
            iam_request_headers=_code(json.dumps(signed)),
        ),
    )


def _token_service(context: LoginContext) -> tuple[str, str]:
    """The region to sign for, and the URL."""
    region = context.text("AWS_REGION") or context.text("AWS_DEFAULT_REGION") or _GLOBAL
    if not re.fullmatch(_REGION, region):
        raise ConfigError("AWS_REGION is malformed", hint="use a region's name, such as eu-west-1")
    # The regions of China and of the US government do not share the global endpoint.
    is_separate = region.startswith(("cn-", "us-gov-"))
    if not is_separate and context.text("AWS_STS_REGIONAL_ENDPOINTS") != "regional":
        return _GLOBAL, "https://sts.amazonaws.com/"
    return region, f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _signed(
    context: LoginContext, region: str, url: str, headers: dict[str, str], seconds: float
) -> tuple[str, dict[str, str]]:
    """The source of the credential, for people, and the headers of the signed request."""
    try:
        import botocore  # noqa: F401
    except ModuleNotFoundError:
        raise missing_package("aws", "botocore", "aws") from None
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    from astro_token_backends.aws.client import Session

    session = Session(options=context.aws)
    until = time.monotonic() + seconds
    try:
        source = session.credential_source(region, until)
        credential = session.credentials(region, until)
    finally:
        session.close()
    request = AWSRequest("POST", url, headers=headers, data=_BODY)
    SigV4Auth(credential, "sts", region).add_auth(request)
    return source, dict(request.headers.items())


def _translated(error: Exception) -> AstroTokenError:
    from astro_token_backends.aws.errors import translated

    return translated(error)


def _code(text: str) -> str:
    return b64encode(text.encode()).decode()
