"""Each variable of AWS with wrong values."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.backends.aws.test_login import in_an_hour, login_answer
from tests.backends.sweep import Environments, reader, variables, wrong_results
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLE = "arn:aws:iam::000000000000:role/r"


def _aws(request: Request) -> Answer:
    from datetime import timedelta

    if b"AssumeRole" in request.body:
        answer = login_answer(timedelta(hours=1))
        name = b"AssumeRoleWithWebIdentity" if b"WebIdentity" in request.body else b"AssumeRole"
        return Answer(200, answer.body.replace(b"AssumeRoleWithWebIdentity", name), {}, "text/xml")
    if request.target.startswith("/role"):
        role = {"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "C", "Expiration": in_an_hour()}
        return Answer.json(role)
    return Answer.json({"SecretString": "value", "VersionId": "v" * 32})


@contextmanager
def environments(folder: Path) -> Iterator[Environments]:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA0000000000000000", "AWS_SECRET_ACCESS_KEY": "x" * 40}
    (folder / "config").write_text("[profile team]\nrole_arn = " + ROLE + "\nsource_profile = base\n")
    (folder / "credentials").write_text("[base]\naws_access_key_id = A\naws_secret_access_key = B\n")
    (folder / "identity").write_text(make_token() + "\n")
    (folder / "pod").write_text("pod\n")
    with HttpServer(_aws) as server:
        base = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        profile = {
            "AWS_PROFILE": "team",
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        }
        container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/role"}
        yield {
            "nothing": base,
            "keys": {**base, **keys, "AWS_SESSION_TOKEN": "t" * 40},
            "a role": {
                **base,
                **keys,
                "ASTRO_TOKEN_AWS_ASSUME_ROLE_ARN": ROLE,
                "ASTRO_TOKEN_AWS_EXTERNAL_ID": "team-7",
                "AWS_ROLE_SESSION_NAME": "deploy",
            },
            "a profile": {**base, **profile},
            "a web identity": {
                **base,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "identity"),
                "AWS_ROLE_ARN": ROLE,
            },
            "a container": {**base, **container, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "pod"},
            "a container's file": {
                **base,
                **container,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(folder / "pod"),
            },
            "a job": {
                **base,
                "ASTRO_TOKEN_ID_TOKEN": make_token(aud="sts.amazonaws.com"),
                "AWS_ROLE_ARN": ROLE,
                "ASTRO_TOKEN_AWS_AUDIENCE": "sts.amazonaws.com",
            },
        }


# A valid name that leads elsewhere: 66, 69 and 75 are right too.
ELSEWHERE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}

# One of each kind: the rest of the sweep is long.
ORDINARY = {"AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"}


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param(variable, marks=() if variable in ORDINARY else pytest.mark.long)
        for variable in variables("aws")
    ],
)
def test_a_wrong_value_names_its_variable(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with environments(tmp_path) as every:
        wrong = wrong_results(
            reader("aws:astro/prod", monkeypatch),
            every,
            variable,
            tmp_path,
            elsewhere=ELSEWHERE,
            everywhere={"nothing", "keys"},
        )
    assert not wrong, json.dumps(wrong, indent=1)
