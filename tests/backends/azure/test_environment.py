"""Settings as people leave them: line ends, `~`, a wrong file, no home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from astro_token.secrets.registry import open_backend
from tests.backends.azure.service import ref
from tests.backends.azure.test_login import client_certificate
from tests.backends.clouds import failure, in_a_process, read
from tests.servers.faults import refused_port

if TYPE_CHECKING:
    from tests.servers.azure import AzureServer
    from tests.servers.jwks import Issuer

CERTIFICATE = "AZURE_CLIENT_CERTIFICATE_PATH"
READ_WITHOUT_HOME = """
import os, pwd
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
try:
    print(open_backend("azure").read(SecretRef.parse("{ref}"), timeout=10).reveal().decode())
except AstroTokenError as error:
    print(error.exit_code, error.message)
"""


@pytest.fixture
def stored(server: AzureServer, name: str) -> str:
    server.put(name, "value")
    return ref(server, name)


@pytest.fixture
def application(server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", server.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", server.client_id)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_end_is_removed_from_a_variable(
    server: AzureServer, stored: str, principal: None, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "AZURE_TENANT_ID": server.tenant,
        "AZURE_CLIENT_ID": server.client_id,
        "AZURE_CLIENT_SECRET": server.client_secret,
        "AZURE_AUTHORITY_HOST": server.url,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value + end)
    assert b"value" == read(open_backend("azure"), stored).reveal()


def test_a_tilde_is_the_home(
    server: AzureServer, stored: str, application: None, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path.home()
    server.directory.trust_certificate(client_certificate(home / "client.pem").read_bytes())
    monkeypatch.setenv(CERTIFICATE, "~/client.pem\n")
    assert b"value" == read(open_backend("azure"), stored).reveal()
    open_backend("azure").close()
    monkeypatch.delenv(CERTIFICATE)
    server.trust(issuer, subject="pod")
    (home / "token").write_text(issuer.mint({"sub": "pod", "aud": "api://AzureADTokenExchange"}))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "~/token")
    assert b"value" == read(open_backend("azure"), stored).reveal()


class TestCertificates:
    @pytest.fixture(autouse=True)
    def set_up(self, server: AzureServer, application: None) -> None:
        pass

    @pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n", b"\x00"])
    def test_a_file_that_is_not_a_certificate(
        self, stored: str, tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if content is not None:
            (tmp_path / "client.pem").write_bytes(content)
        monkeypatch.setenv(CERTIFICATE, str(tmp_path / "client.pem"))
        error = failure(open_backend("azure"), stored)
        assert (78, True) == (error.exit_code, CERTIFICATE in error.message)

    def test_an_encrypted_key(
        self, server: AzureServer, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = client_certificate(tmp_path / "client.pem")
        server.directory.trust_certificate(file.read_bytes())
        encrypt(file, b"p")
        monkeypatch.setenv(CERTIFICATE, str(file))
        backend: Any = open_backend("azure")
        for password in (None, "wrong"):
            if password:
                monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)
            error = failure(backend, stored)
            assert (78, True) == (error.exit_code, "AZURE_CLIENT_CERTIFICATE_PASSWORD" in str(error.hint))
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "p\n")
        assert b"value" == read(backend, stored).reveal()


def encrypt(file: Path, password: bytes) -> None:
    data = file.read_bytes()
    key = serialization.load_pem_private_key(data, None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    file.write_bytes(encrypted + data[data.index(b"-----BEGIN CERTIFICATE") :])


def test_a_login_that_does_not_exist_names_the_variable(
    server: AzureServer, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    error = failure(open_backend("azure"), stored)
    assert (78, True) == (error.exit_code, "AZURE_TOKEN_CREDENTIALS" in error.message)


@pytest.mark.parametrize("login", ["secret", "managed identity", "none"])
def test_no_login_needs_a_home(
    server: AzureServer,
    stored: str,
    application: None,
    tmp_path: Path,
    login: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user without an entry in /etc/passwd, and without HOME. A folder named `~` is not a home."""
    (tmp_path / "~" / ".azure").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    variables: dict[str, dict[str, str | None]] = {
        "secret": {"AZURE_CLIENT_SECRET": server.client_secret},
        "managed identity": {
            "AZURE_CLIENT_ID": server.machine_id,
            "IDENTITY_ENDPOINT": server.identity_endpoint,
            "IDENTITY_HEADER": server.identity_header,
        },
        "none": {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{refused_port()}"},
    }
    done = in_a_process(READ_WITHOUT_HOME.format(ref=stored), HOME=None, **variables[login])
    expected = "77 there is no Azure credential" if login == "none" else "value"
    assert (expected, "") == (done.stdout.strip(), done.stderr)
