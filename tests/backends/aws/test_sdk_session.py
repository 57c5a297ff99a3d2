"""botocore without its HTTP library and its list of endpoints works as if it had them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointProviderError, EndpointVariantError

from astro_token_backends.aws.sdk_session import new_session
from tests.backends.aws.service import SECONDS
from tests.backends.aws.test_login import in_an_hour
from tests.backends.clouds import in_a_process
from tests.conftest import ROOT
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer

if TYPE_CHECKING:
    from tests.servers.ministack import MiniStack

# The newest and the oldest version that the extra allows.
PYTHONS = (sys.executable, str(ROOT / ".venv-oldest" / "bin" / "python"))
REPLACED = (
    "urllib3",
    "urllib3.util",
    "urllib3.connection",
    "botocore.httpsession",
    "botocore.docs",
    "jmespath",
)
LOG_IN = f"""
import sys
from astro_token.system.sdk_imports import allow_placeholders
allow_placeholders()
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
backend = open_backend("aws")
ref = SecretRef.parse("aws:a")
print(backend.credential_source(ref, timeout={SECONDS}))
backend.log_in(ref, timeout={SECONDS})
print(backend.route(ref).address.origin)
print([name for name in {REPLACED} if name in sys.modules])
import urllib3, jmespath, botocore.httpsession, botocore.docs
print(issubclass(sys.modules["urllib3.poolmanager"].LocationValueError, urllib3.exceptions.HTTPError))
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_a_login_and_a_role_of_a_container_need_no_other_http_library(
    environment: MiniStack, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "", "Expiration": in_an_hour()}
    with FaultServer(lambda _: Answer.json(given)) as container:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/role")
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setattr(sys, "executable", python)
        done = in_a_process(LOG_IN, PYTHONPATH=f"{ROOT / 'core'}:{ROOT / 'backends'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the container's role (AWS_CONTAINER_CREDENTIALS_FULL_URI)",
        environment.endpoint,
        "[]",
        "True",
    ]


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("secretsmanager", "list_secrets", {}),
        ("ssm", "describe_parameters", {}),
        ("kms", "list_keys", {}),
        ("sts", "get_caller_identity", {}),
        ("sso", "list_accounts", {"accessToken": "x"}),
    ],
)
def test_endpoints_and_signatures_are_those_of_the_complete_list(
    environment: MiniStack,
    service: str,
    operation: str,
    arguments: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    sessions = [botocore.session.Session(), new_session()]
    requests = [recorded(session) for session in sessions]
    regions = ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "eu-new-9"]
    for region in [*regions, "aws-global", "fips-us-east-1"]:
        for options in ({}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}):
            for session in sessions:
                call(session, service, operation, arguments, region, options)
            assert requests[0] == requests[1]
    assert len(requests[0]) > len(regions)


def call(
    session: Any,
    service: str,
    operation: str,
    arguments: dict[str, str],
    region: str,
    options: dict[str, bool],
) -> None:
    config = Config(retries={"total_max_attempts": 1}, **options)
    with contextlib.suppress(RecordedError, EndpointVariantError, EndpointProviderError):
        getattr(session.create_client(service, region_name=region, config=config), operation)(**arguments)


def recorded(session: Any) -> list[tuple[str, str]]:
    """The URL and the scope of the signature of each request, none of which is sent."""
    requests: list[tuple[str, str]] = []

    def record(request: Any, **_: object) -> None:
        signature = request.headers.get("Authorization", b"")
        text = signature.decode() if isinstance(signature, bytes) else signature
        requests.append((request.url, text.partition("Credential=")[2].partition(",")[0]))
        raise RecordedError

    session.register("before-send", record)
    return requests


class RecordedError(Exception):
    pass
