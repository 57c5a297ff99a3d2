"""
MiniStack, an emulator of AWS that checks signatures and policies: of users and roles, never of the root.

It runs from a virtual environment of its own, since it pins another botocore than we use:

    python -m venv .venv-ministack && .venv-ministack/bin/pip install ministack

`ASTRO_TOKEN_TEST_MINISTACK` names that environment where it is elsewhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from tests.servers import processes

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "ASTRO_TOKEN_TEST_MINISTACK"
_ROOT = "test"
_DEFAULT = Path(__file__).resolve().parents[2] / ".venv-ministack"


class MiniStack:
    """
    Attributes:
        endpoint: for `AWS_ENDPOINT_URL`.
        access_key: of an administrator, who may do everything.
            It is a user, since MiniStack takes any signature for one of the account's root.
        secret_key: of the administrator.
        region: any would do; this is where tests keep their things.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region = "eu-west-1"

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()

    def user(self, *statements: Mapping[str, object]) -> tuple[str, str]:
        """The access key and secret key of a new user, who may do what these policy statements say."""
        name = f"user-{secrets.token_hex(4)}"
        policy = json.dumps({"Version": "2012-10-17", "Statement": [dict(one) for one in statements]})
        self._iam("CreateUser", UserName=name)
        if statements:
            self._iam("PutUserPolicy", UserName=name, PolicyName="tests", PolicyDocument=policy)
        answer = self._iam("CreateAccessKey", UserName=name)
        return _element("AccessKeyId", answer), _element("SecretAccessKey", answer)

    def role(self, trust: Mapping[str, object], *statements: Mapping[str, object]) -> str:
        """The ARN of a new role, which the principals of the trust statement may assume."""
        name = f"role-{secrets.token_hex(4)}"
        trusted = json.dumps({"Version": "2012-10-17", "Statement": [dict(trust)]})
        policy = json.dumps({"Version": "2012-10-17", "Statement": [dict(one) for one in statements]})
        answer = self._iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=trusted)
        if statements:
            self._iam("PutRolePolicy", RoleName=name, PolicyName="tests", PolicyDocument=policy)
        return _element("Arn", answer)

    def _iam(self, action: str, **arguments: str) -> str:
        host = self.endpoint.removeprefix("http://")
        scope = f"{_ROOT}/20260101/{self.region}/iam/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = urlencode({"Action": action, "Version": "2010-05-08", **arguments})
        with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as connection:
            connection.request("POST", "/", form, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status != 200:
            raise processes.ServerStartError(f"{action} was refused with {answer.status}")
        return text

    def environment(self) -> dict[str, str]:
        """What leads the SDK here, as the administrator, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def __enter__(self) -> Self:
        python = _environment() / "bin" / "python"
        with contextlib.ExitStack() as running:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ministack-")))

            def env(port: int) -> dict[str, str]:
                return {
                    "AUTH": "true",
                    "BIND_HOST": "127.0.0.1",
                    "GATEWAY_PORT": str(port),
                    "AWS_ACCESS_KEY_ID": _ROOT,
                    "MINISTACK_REGION": self.region,
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "STATE_DIR": str(folder / "state"),
                    "S3_DATA_DIR": str(folder / "s3"),
                    # It would look for containers of its own to remove.
                    "DOCKER_HOST": f"unix://{folder}/none",
                }

            def ready(port: int) -> bool:
                # Its own log tells whether it is this process that has the port.
                if f"Running on http://127.0.0.1:{port}" not in (folder / "log").read_text(errors="replace"):
                    return False
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                with contextlib.closing(connection):
                    connection.request("GET", "/_ministack/health")
                    return connection.getresponse().status == 200

            port = running.enter_context(
                processes.run(
                    lambda _: [str(python), "-m", "ministack"],
                    env=env,
                    folder=folder,
                    ready=ready,
                )
            )
            self.endpoint = f"http://127.0.0.1:{port}"
            everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
            self.access_key, self.secret_key = self.user(everything)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def _element(name: str, xml: str) -> str:
    return xml.partition(f"<{name}>")[2].partition("</")[0]


def _environment() -> Path:
    folder = Path(os.environ.get(VARIABLE) or _DEFAULT)
    if not list(folder.glob("lib/python*/site-packages/ministack")):
        install = f"python -m venv {folder} && {folder}/bin/pip install ministack"
        raise processes.ServerStartError(f"there is no ministack in {folder}: {install}")
    return folder


def main() -> None:
    from tests.servers import by_hand

    with MiniStack() as ministack:
        by_hand.serve("MiniStack", ministack.environment())


if __name__ == "__main__":
    main()
