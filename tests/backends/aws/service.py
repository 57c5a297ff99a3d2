"""AWS from the side of those who store, on MiniStack."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import botocore.session

from astro_token.errors import AstroTokenError
from astro_token.log import silence
from astro_token.secret import SecretValue
from astro_token.secrets.ref import SecretRef
from astro_token.testing import appearances, reachable_text
from astro_token_backends.aws import LOGGERS
from astro_token_backends.aws.client import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.jwks import Issuer
    from tests.servers.ministack import MiniStack

SECONDS = 10.0
ACCOUNT = "000000000000"


sessions: list[Session] = []


def new_session() -> Session:
    """A login of its own, which ends with the test."""
    sessions.append(Session())
    return sessions[-1]


def client(server: MiniStack, service: str, region: str | None = None) -> Any:
    """For the administrator, who makes what the tests read."""
    made = botocore.session.Session().create_client(
        service,
        endpoint_url=server.endpoint,
        region_name=region or server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    silence(LOGGERS)  # this client is the tests' own, and would log values
    return made


def unique(what: str = "astro") -> str:
    return f"{what}/{uuid.uuid4().hex}"


def ref(text: str) -> SecretRef:
    return SecretRef.parse(text)


def secret(text: str | bytes) -> SecretValue:
    return SecretValue(text.encode() if isinstance(text, str) else text)


def error_of(call: Callable[[], object], *canaries: str) -> AstroTokenError:
    """What a call fails with, after a look for what it must not hold."""
    try:
        call()
    except AstroTokenError as caught:
        error = caught
    else:
        raise AssertionError("it did not fail")
    frames = error.__traceback__
    while frames is not None and "/astro_token_backends/" not in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next  # those of the test itself know the canaries
    error = error.with_traceback(frames)
    assert (error.__cause__, error.__context__) == (None, None)
    assert "\n" not in error.message + (error.hint or "")
    text = reachable_text(error)
    assert [appearances(canary, text) for canary in canaries] == [[] for _ in canaries]
    return error


def allow(*actions: str, on: str = "*") -> Mapping[str, object]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def keys(server: MiniStack, *statements: Mapping[str, object]) -> dict[str, str]:
    """The variables of a user who may do that."""
    access_key, secret_key = server.user(*statements)
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}


def trust_of(issuer: Issuer, audience: str, subject: str) -> Mapping[str, object]:
    """What a role for the jobs of a CI system says of them."""
    host = issuer.name.partition("://")[2]
    return {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": audience, f"{host}:sub": subject}},
    }
