"""Each variable of a backend with wrong values: the result is right, or names the variable."""

from __future__ import annotations

import errno
import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends, open_backend
from astro_token.secrets.schemes import BUILTIN
from astro_token.testing import make_token
from tests.backends.aws.test_login import in_an_hour, login_answer
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

# Environments that can read a reference, each with another credential, by name.
Environments = dict[str, dict[str, str]]
CODES = {64, 74, 77, 78}
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
def aws(folder: Path) -> Iterator[Environments]:
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


# For each scheme: a reference, its environments, and further variables that it or its SDK reads.
SWEPT: dict[str, tuple[str, Callable[[Path], AbstractContextManager[Environments]], tuple[str, ...]]] = {
    "aws": (
        "aws:astro/prod",
        aws,
        (
            "AWS_CONFIG_FILE",
            "AWS_CREDENTIAL_EXPIRATION",
            "AWS_CREDENTIAL_FILE",
            "AWS_DATA_PATH",
            "AWS_DEFAULTS_MODE",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_ENDPOINT_URL_STS",
            "AWS_MAX_ATTEMPTS",
            "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
            "AWS_METADATA_SERVICE_TIMEOUT",
            "AWS_RETRY_MODE",
            "AWS_ROLE_SESSION_NAME",
            "AWS_SDK_UA_APP_ID",
            "AWS_STS_REGIONAL_ENDPOINTS",
            "AWS_USE_FIPS_ENDPOINT",
            "BOTO_CONFIG",
            "SSL_CERT_FILE",
            "ASTRO_TOKEN_CA_BUNDLE",
            "HTTPS_PROXY",
        ),
    ),
}
# A valid name that leads elsewhere: 66, 69 and 75 are right too.
ELSEWHERE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}


def variables(scheme: str) -> tuple[str, ...]:
    record = BUILTIN[scheme]
    return tuple(dict.fromkeys((*record.credentials, *record.settings, *SWEPT[scheme][2])))


# One of each kind: the rest of the sweep is long.
ORDINARY = {"AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"}


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [
        pytest.param(scheme, variable, marks=() if variable in ORDINARY else pytest.mark.long)
        for scheme in SWEPT
        for variable in variables(scheme)
    ],
)
def test_a_wrong_value_names_its_variable(
    scheme: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, environments, _ = SWEPT[scheme]
    wrong: list[object] = []
    with environments(tmp_path) as every:
        values = {
            "text": "no such: {thing}, or {other}",
            "folder": str(tmp_path),
            "unreadable": "/proc/self/mem" if os.path.exists("/proc/self/mem") else str(tmp_path),  # noqa: PTH110
            "missing": str(tmp_path / "none"),
        }
        for name, environ in every.items():
            if variable not in environ and name not in {"nothing", "keys"}:
                continue
            without = {key: value for key, value in environ.items() if key != variable}
            unset = usual = outcome(reference, without, monkeypatch)
            empty = outcome(reference, {**without, variable: ""}, monkeypatch)
            if empty[:2] != unset[:2]:
                wrong.append((name, "empty", empty, unset))
            if variable in environ:
                usual = outcome(reference, environ, monkeypatch)
                assert name == "nothing" or usual[0] == 0, usual
                for end in ("\n", "\r\n"):
                    result = outcome(reference, {**environ, variable: environ[variable] + end}, monkeypatch)
                    if result != usual:
                        wrong.append((name, "line end", result))
            for kind, value in values.items():
                result = outcome(reference, {**without, variable: value}, monkeypatch)
                named = result[0] in CODES and variable in f"{result[1]} {result[2]}"
                elsewhere = variable in ELSEWHERE and result[0] in {66, 69, 75}
                if not (result[0] == 0 or named or elsewhere or result in (unset, usual)):
                    wrong.append((name, kind, result))
                if value in f"{result[1]} {result[2]}" and kind == "text":
                    wrong.append((name, "shown", result))
    assert not wrong, json.dumps(wrong, indent=1)


def outcome(reference: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """The exit code, the message and the hint of a read."""
    ref = SecretRef.parse(reference)

    def unreachable(connection: socket.socket, address: Any) -> None:
        if connection.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise OSError(errno.ENETUNREACH, "only the test's own server can be reached")
        connect(connection, address)

    connect = socket.socket.connect
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", unreachable)
        for name, value in environ.items():
            patch.setenv(name, value)
        close_backends()
        try:
            open_backend(ref.scheme).read(ref, timeout=5)
        except AstroTokenError as error:
            return error.exit_code, error.message, error.hint or ""
        finally:
            close_backends()
    return 0, "", ""
