"""Words about where a credential is from hold no credential, also where one stands in the wrong variable."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import AstroTokenError, ConfigError
from astro_token.secrets.protocols import SupportsLogIn
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import close_backends, open_backend
from astro_token_backends.credential_source import job_identity, printable, printable_path
from tests.backends.clouds import logged
from tests.rows import each_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

AGE_KEY = f"AGE-SECRET-KEY-1{'QPZRY9X8GF' * 6}"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n"
VAULT_TOKEN = "hvs.CAESIJ4nZq8Xk2mYqpX0mT1bYw"
ROLE = "arn:aws:iam::123456789012:role/r"
VAULT = {"VAULT_ADDR": "http://127.0.0.1:9", "ASTRO_TOKEN_VAULT_AUTH": "kubernetes"}


@pytest.mark.parametrize(
    ("ref", "variable", "environ"),
    [
        (
            "azure:some-vault/s",
            "AZURE_FEDERATED_TOKEN_FILE",
            {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"},
        ),
        ("aws:a", "AWS_WEB_IDENTITY_TOKEN_FILE", {"AWS_ROLE_ARN": ROLE, "AWS_REGION": "eu-west-1"}),
        ("file:{folder}/encrypted", "ASTRO_TOKEN_AGE_KEY_FILE", {}),
        (
            "vault:secret/a",
            "ASTRO_TOKEN_VAULT_ROLE",
            {**VAULT, "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE": "{folder}/token"},
        ),
        ("vault:secret/a", "ASTRO_TOKEN_KUBERNETES_TOKEN_FILE", {**VAULT, "ASTRO_TOKEN_VAULT_ROLE": "r"}),
    ],
)
def test_a_credential_in_the_place_of_a_name_is_not_shown(
    ref: str,
    variable: str,
    environ: dict[str, str],
    canary: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "encrypted").write_bytes(b"age-encryption.org/v1\n-> X25519 x\n")
    (tmp_path / "token").write_text(canary)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    caplog.set_level(logging.DEBUG)
    for credential in (canary, AGE_KEY, PEM, VAULT_TOKEN):
        monkeypatch.setenv(variable, credential)
        said = "".join(words(SecretRef.parse(ref.format(folder=tmp_path)))) + logged(caplog)
        close_backends()
        assert said
        assert [] == [part for part in (credential[:24], credential[-24:].strip()) if part in said]


def words(ref: SecretRef) -> Iterator[str]:
    """All that a backend says of a login, whether or not it comes to one."""
    backend: Any = open_backend(ref.scheme)
    asked = [backend.credential_source, backend.read]
    if isinstance(backend, SupportsLogIn):
        asked.append(backend.log_in)
    for ask in asked:
        try:
            yield str(ask(ref, timeout=2))
        except AstroTokenError as error:
            yield f"{error.message} {error.hint}"


@each_row("credential", [AGE_KEY, PEM, VAULT_TOKEN, "s.3kjhKJH78hjkhKJHkjh7", '{"private_key": "x"}'])
def test_no_name_that_is_a_credential_is_shown(credential: str, canary: str) -> None:
    for text in (credential, f"/run/{credential}", canary, f"Bearer {canary}"):
        assert "<a credential>" == printable(text)


def test_a_path_is_shown_where_it_can_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "a relative name of a key.pem"
    assert "<not a path>" == printable_path(name)
    (tmp_path / name).touch()
    for path in (name, "nowhere", "/nonexistent/but/absolute/and/long", tmp_path):
        assert str(path) == printable_path(path)
    assert "/a\\x1b[31m\\u202eb" == printable_path("/a\x1b[31m\u202eb")
    for role in ("team-platform-astro-deploy-production-readonly", "s.short", "hvs.x"):
        assert role == printable(role)


def test_no_traceback_leads_to_the_environment() -> None:
    environ = {"ASTRO_TOKEN_ID_TOKEN": "no-jwt", "OTHER": "canary-of-the-environment"}
    with pytest.raises(ConfigError) as raised:
        job_identity("NO_VARIABLE", "audience", environ=environ, timeout=1)
    frames = [
        frame.tb_frame
        for frame in _frames(raised.value.__traceback__)
        if "tests" not in Path(frame.tb_frame.f_code.co_filename).parts
    ]
    assert frames
    assert all(environ is not value for frame in frames for value in frame.f_locals.values())


def _frames(frame: TracebackType | None) -> Iterator[TracebackType]:
    while frame is not None:
        yield frame
        frame = frame.tb_next
