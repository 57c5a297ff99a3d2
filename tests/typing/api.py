"""
What a typed program writes, checked by mypy in strict mode and run by no test.

A line with an ignore has to be an error: mypy complains of an ignore that is not needed.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_type

import astro_token
from astro_token import (
    AstroToken,
    AstroTokenError,
    Backend,
    CliEnvironment,
    Policy,
    SecretMetadata,
    SecretRef,
    SecretValue,
    SupportsCheckWrite,
    SupportsClose,
    SupportsCredentialSource,
    SupportsCredentialVariables,
    SupportsDecrypt,
    SupportsDescribe,
    SupportsEncrypt,
    SupportsLogIn,
    SupportsReadMany,
    SupportsRotationRecord,
    SupportsRoute,
    SupportsWrite,
    Verdict,
)
from astro_token.testing import make_token
from astro_token.transport.route import Route

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def deploy() -> None:
    token = astro_token.read_token("vault:secret/astro/prod#token")
    with astro_token.isolated(token) as environ:
        subprocess.run(["astro", "deploy", "--dags"], env=environ, check=True)


def inspect(token: AstroToken) -> None:
    assert_type(token.expires, datetime | None)
    assert_type(token.reveal(), str)
    assert_type(token.secret, SecretValue)
    assert_type(token.secret.reveal(), bytes)
    environment = astro_token.export(token, keep=["AWS_PROFILE"])
    assert_type(environment, CliEnvironment)
    assert_type(environment.applied({"PATH": "/bin"}), dict[str, str])
    verdicts = astro_token.judge(
        token, Policy("workspace", min_validity=timedelta(hours=1)), astro_token.Expectations()
    )
    assert_type(verdicts, tuple[Verdict, ...])
    astro_token.enforce(verdicts)


def arguments() -> None:
    ref = SecretRef.parse("env:TOKEN")
    token = astro_token.read_token(ref, decrypt="aws-kms:alias/x", policy=Policy(), timeout=5)
    assert_type(token, AstroToken)
    astro_token.read_token(7)  # type: ignore[arg-type]
    Policy("world")  # type: ignore[arg-type]
    token.expires = None  # type: ignore[misc]
    str(token.secret.data)  # type: ignore[attr-defined]
    assert_type(make_token(workspace=None, expires_in=60), str)


def errors() -> int:
    try:
        arguments()
    except astro_token.BackendUnavailableError as error:
        assert_type(error.retry_after, float | None)
        return error.exit_code
    except AstroTokenError as error:
        assert_type(error.hint, str | None)
        return error.exit_code
    return 0


class Everything:
    """A backend with every ability."""

    def read(self, ref: SecretRef, *, timeout: float) -> SecretValue:
        return SecretValue(f"{ref}{timeout}".encode(), version="1")

    def read_many(
        self, refs: Sequence[SecretRef], *, timeout: float
    ) -> Mapping[SecretRef, SecretValue | AstroTokenError]:
        return {ref: self.read(ref, timeout=timeout) for ref in refs}

    def describe(self, ref: SecretRef, *, timeout: float) -> SecretMetadata:
        return SecretMetadata(labels={str(ref): str(timeout)})

    def write(
        self, ref: SecretRef, value: SecretValue, *, expected_version: str | None, timeout: float
    ) -> str:
        return f"{ref}{value}{expected_version}{timeout}"

    def check_write(self, ref: SecretRef, *, timeout: float) -> None:
        self.read(ref, timeout=timeout)

    def rotation_record(self, ref: SecretRef) -> SecretRef:
        return ref

    def decrypt(self, ref: SecretRef, ciphertext: bytes, *, timeout: float) -> SecretValue:
        return SecretValue(ciphertext + f"{ref}{timeout}".encode())

    def encrypt(self, ref: SecretRef, value: SecretValue, *, timeout: float) -> bytes:
        return f"{ref}{value}{timeout}".encode()

    def credential_variables(self) -> Collection[str]:
        return ["MY_KEY"]

    def route(self, ref: SecretRef) -> Route:
        return Route.to(f"https://{ref.name}.example.com", {})

    def credential_source(self, ref: SecretRef, *, timeout: float) -> str:
        return f"MY_KEY{ref}{timeout}"

    def log_in(self, ref: SecretRef, *, timeout: float) -> None:
        self.credential_source(ref, timeout=timeout)

    def close(self) -> None:
        return None


class NotABackend:
    def read(self, ref: str) -> bytes:
        return ref.encode()


backend: Backend = Everything()
many: SupportsReadMany = Everything()
describing: SupportsDescribe = Everything()
writing: SupportsWrite = Everything()
checking: SupportsCheckWrite = Everything()
rotating: SupportsRotationRecord = Everything()
decrypting: SupportsDecrypt = Everything()
encrypting: SupportsEncrypt = Everything()
declaring: SupportsCredentialVariables = Everything()
routed: SupportsRoute = Everything()
sourced: SupportsCredentialSource = Everything()
logging_in: SupportsLogIn = Everything()
closing: SupportsClose = Everything()
wrong: Backend = NotABackend()  # type: ignore[assignment]
