"""A profile of `aws login`, with the extra `aws-login`."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.backends.clouds import in_a_process
from tests.conftest import ROOT
from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "arn:aws:iam::123456789012:user/me"
READ = """
from astro_token.system.sdk_imports import allow_placeholders
allow_placeholders()
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
backend = open_backend("aws")
ref = SecretRef.parse("aws:a")
print(backend.credential_source(ref, timeout=10))
print(backend.read(ref, timeout=10).reveal())
"""


def left_by_login(folder: Path, minutes: int) -> dict[str, str]:
    """Write the files of a login whose keys end in some minutes. Return the keys."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    ends = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"accessKeyId": "OLD", "secretAccessKey": "s", "sessionToken": "t"}
    login = {
        "accessToken": {**keys, "accountId": "123456789012", "expiresAt": ends},
        "refreshToken": "renewal",
        "dpopKey": pem.decode(),
        "clientId": "client",
    }
    name = hashlib.sha256(SESSION.encode()).hexdigest()
    (folder / f"{name}.json").write_text(json.dumps(login))
    (folder / "config").write_text(f"[profile me]\nlogin_session = {SESSION}\n")
    return keys


FAILING = """
from astro_token.errors import AstroTokenError
try:
    backend.read(ref, timeout=10)
except AstroTokenError as error:
    print(error.exit_code, error.message)
    print(error.hint)
"""


@pytest.mark.parametrize("minutes", [60, -1], ids=["valid", "expired"])
def test_its_credential_is_used_and_renewed(
    minutes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = left_by_login(tmp_path, minutes)

    def answer(request: Request) -> Answer:
        if b"renewal" in request.body:
            renewed = {"accessToken": {**keys, "accessKeyId": "NEW"}, "expiresIn": 900}
            return Answer.json({**renewed, "refreshToken": "next", "tokenType": "aws_sigv4"})
        return Answer.json({"SecretString": "value", "VersionId": "v" * 32})

    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv-aws-login" / "bin" / "python"))
    with HttpServer(answer) as server:
        done = in_a_process(
            READ,
            PYTHONPATH=f"{ROOT / 'core'}:{ROOT / 'backends'}",
            AWS_CONFIG_FILE=str(tmp_path / "config"),
            AWS_PROFILE="me",
            AWS_REGION="eu-west-1",
            AWS_LOGIN_CACHE_DIRECTORY=str(tmp_path),
            AWS_ENDPOINT_URL=server.url,
        )
        assert (done.stdout.splitlines(), done.stderr) == (
            [f"`aws login` of the profile me in {tmp_path}/config", "b'value'"],
            "",
        )
        *renewals, read = server.requests
    assert f"Credential={'NEW' if minutes < 0 else 'OLD'}/" in read.headers["authorization"]
    assert len(renewals) == (minutes < 0)
    for request in renewals:
        claims = json.loads(base64.urlsafe_b64decode(request.headers["dpop"].split(".")[1] + "=="))
        assert claims["htm"] == "POST"


def test_a_session_that_has_ended_names_the_command_that_renews_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    left_by_login(tmp_path, -1)
    refusal = {"error": "TOKEN_EXPIRED", "message": canary, "__type": "AccessDeniedException"}

    def answer(_: Request) -> Answer:
        return Answer.json(refusal, 401, {"x-amzn-ErrorType": "AccessDeniedException"})

    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv-aws-login" / "bin" / "python"))
    with HttpServer(answer) as server:
        environ = {
            "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'backends'}",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_PROFILE": "me",
            "AWS_REGION": "eu-west-1",
            "AWS_LOGIN_CACHE_DIRECTORY": str(tmp_path),
            "AWS_ENDPOINT_URL": server.url,
        }
        done = in_a_process(READ.rpartition("print")[0] + FAILING, **environ)
    source, error, hint = done.stdout.splitlines()
    assert error == f"77 cannot log in to AWS with {source}: the session has expired, or was revoked"
    assert hint.startswith("log in again: aws login --profile me; check AWS_PROFILE")
    assert canary not in done.stdout + done.stderr
