"""The strict Secrets Manager of our own, by botocore: it does what is right, and refuses what is not."""

from __future__ import annotations

import uuid
from typing import Any

import botocore.session

from tests.servers.aws_secrets import AwsSecrets
from tests.servers.test_aws_kms import code


def client(server: AwsSecrets, **changes: str) -> Any:
    environ = {**server.environment(), **changes}
    return botocore.session.Session().create_client(
        "secretsmanager",
        endpoint_url=server.url,
        region_name=environ["AWS_REGION"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
    )


def test_it_rotates_as_the_service_does() -> None:
    with AwsSecrets() as server:
        sdk, arn = client(server), server.create("a/b", "1")
        first = sdk.get_secret_value(SecretId="a/b")["VersionId"]
        version = server.rotate("a/b")
        assert version == server.rotate("a/b")  # as long as it is pending
        pending = {"SecretId": arn, "VersionId": version}
        assert "ResourceNotFoundException" == code(lambda: sdk.get_secret_value(**pending))
        staged = {"SecretId": arn, "ClientRequestToken": version, "VersionStages": ["AWSPENDING"]}
        for _ in range(2):
            assert version == sdk.put_secret_value(**staged, SecretString="2")["VersionId"]
        assert "ResourceExistsException" == code(lambda: sdk.put_secret_value(**staged, SecretString="3"))
        move = {"SecretId": arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": version}
        other = str(uuid.uuid4())
        for source, refusal in (
            ({}, "InvalidParameterException"),
            ({"RemoveFromVersionId": version}, "InvalidParameterException"),
            ({"RemoveFromVersionId": other}, "ResourceNotFoundException"),
        ):
            assert refusal == code(lambda: sdk.update_secret_version_stage(**move, **source))  # noqa: B023
        assert "1" == sdk.get_secret_value(SecretId=arn[:-7])["SecretString"]
        sdk.update_secret_version_stage(**move, RemoveFromVersionId=first)
        assert ("2", "1") == (server.read("a/b"), server.read("a/b", "AWSPREVIOUS"))
        assert version != server.rotate("a/b")
        described = sdk.describe_secret(SecretId=arn)
        assert (True, ["AWSPREVIOUS"]) == (
            described["RotationEnabled"],
            described["VersionIdsToStages"][first],
        )


def test_it_refuses_what_the_service_refuses() -> None:
    with AwsSecrets() as server:
        sdk = client(server)
        server.create("a/b", "1")
        current = sdk.get_secret_value(SecretId="a/b")["VersionId"]
        remove = {"SecretId": "a/b", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": current}
        assert "InvalidParameterException" == code(lambda: sdk.update_secret_version_stage(**remove))
        assert "ResourceNotFoundException" == code(lambda: sdk.describe_secret(SecretId="a/c"))
        assert "UnknownOperationException" == code(lambda: sdk.delete_secret(SecretId="a/b"))
        wrong = client(server, AWS_SECRET_ACCESS_KEY="x" * 40)
        assert "InvalidSignatureException" == code(lambda: wrong.describe_secret(SecretId="a/b"))
