"""AWS on loopback: signatures and policies are checked."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import ministack as module
from tests.servers.ministack import MiniStack
from tests.servers.processes import ServerStartError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.jwks import Issuer


def client(server: MiniStack, service: str, access_key: str = "", secret_key: str = "") -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=access_key or server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )


def code(call: Any, **arguments: Any) -> str:
    """The error code of a call, an empty text where there was none."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_what_was_stored_is_read(ministack: MiniStack) -> None:
    name = f"a-{uuid.uuid4().hex[:8]}"
    secrets = client(ministack, "secretsmanager")
    secrets.create_secret(Name=name, SecretString="t")
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "t"
    assert code(secrets.get_secret_value, SecretId="none") == "ResourceNotFoundException"


def test_a_wrong_signature_and_an_unknown_key_are_refused(ministack: MiniStack) -> None:
    forged = client(ministack, "secretsmanager", secret_key="wrong")
    stranger = client(ministack, "secretsmanager", access_key="AKIASTRANGERSTRANGER")
    assert code(forged.list_secrets) == "InvalidSignatureException"
    assert code(stranger.list_secrets) == "UnrecognizedClientException"


def test_a_user_may_do_what_the_policy_says(ministack: MiniStack) -> None:
    keys = ministack.user({"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"})
    secrets = client(ministack, "secretsmanager", *keys)
    assert code(secrets.list_secrets) == ""
    assert code(secrets.create_secret, Name="no", SecretString="t") == "AccessDeniedException"
    nobody = client(ministack, "secretsmanager", *ministack.user())
    assert code(nobody.list_secrets) == "AccessDeniedException"


def test_a_role_is_assumed_by_whom_it_trusts(ministack: MiniStack) -> None:
    secret_id = uuid.uuid4().hex
    keys = ministack.user({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    account = client(ministack, "sts", *keys).get_caller_identity()
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": account["Arn"]},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": secret_id}},
    }
    role = ministack.role(trust, {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"})
    who = {"RoleArn": role, "RoleSessionName": "tests"}
    sts = client(ministack, "sts", *keys)
    assert code(sts.assume_role, **who) == "AccessDenied"
    assert code(sts.assume_role, **who, ExternalId="other") == "AccessDenied"
    assert code(sts.assume_role, **who, ExternalId=secret_id) == ""
    strangers = ministack.user({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    stranger = client(ministack, "sts", *strangers)
    assert code(stranger.assume_role, **who, ExternalId=secret_id) == "AccessDenied"


def test_a_web_identity_is_trusted_by_issuer_audience_and_subject(
    ministack: MiniStack, issuer: Issuer
) -> None:
    host = issuer.name.partition("://")[2]
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": "job"}},
    }
    role = ministack.role(trust)
    sts = client(ministack, "sts")

    def assume(**claims: str) -> str:
        token = issuer.mint({"aud": "sts.amazonaws.com", "sub": "job", **claims})
        return code(
            sts.assume_role_with_web_identity,
            RoleArn=role,
            RoleSessionName="tests",
            WebIdentityToken=token,
        )

    assert assume() == ""
    assert assume(aud="other") == "AccessDenied"
    assert assume(sub="other") == "AccessDenied"
    assert assume(iss="https://other.example") == "AccessDenied"


def test_a_missing_environment_is_told_how_to_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, str(tmp_path))
    with pytest.raises(ServerStartError, match="pip install ministack"):
        MiniStack().__enter__()
