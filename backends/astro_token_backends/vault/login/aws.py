"""
The identity of an AWS principal: a request to ask who it is, signed and not sent.

Vault sends it to AWS's token service and takes the answer for the caller's identity.
It has to be signed for the place that Vault sends it to,
which is `sts.amazonaws.com` unless its operator says otherwise.
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
from astro_token_backends.vault.login.asked import Credential, missing_package

if TYPE_CHECKING:
    from astro_token_backends.vault.login.asked import Asked

__all__ = ["aws"]

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_REGION = re.compile(r"[a-z]{2}(?:-gov)?-[a-z]+-\d{1,2}")
_GLOBAL = "us-east-1"  # for which sts.amazonaws.com wants its requests signed


def aws(asked: Asked) -> Credential:
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
    source, signed = Deadline(asked.seconds).once(
        lambda seconds: call_sdk(lambda: _signed(region, url, headers, seconds), _translated)
    )
    return Credential(
        asked.with_role(source),
        lambda: asked.post(
            role=role,
            iam_http_request_method="POST",
            iam_request_url=_code(url),
            iam_request_body=_code(_BODY),
            iam_request_headers=_code(json.dumps(signed)),
        ),
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


def _signed(region: str, url: str, headers: dict[str, str], seconds: float) -> tuple[str, dict[str, str]]:
    """What it is signed with, in words, and the headers of the request, with the signature among them."""
    try:
        import botocore  # noqa: F401
    except ModuleNotFoundError:
        raise missing_package("aws", "botocore", "aws") from None
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    from astro_token_backends.aws.client import Session

    session = Session()
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
