"""What the clouds' backends have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token_backends import network
from tests.backends.clouds import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import Certificates


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("127.0.0.1.example", False),
        ("localhost.example", False),
        ("", False),
        ("169.254.169.254", False),
    ],
)
def test_loopback_is_told_by_the_whole_host(host: str, loopback: bool) -> None:
    assert loopback is network.is_loopback(host)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://sts.example.com/", False),
        ("http://127.0.0.1:1/", False),
        ("http://169.254.169.254/latest", False),
        ("http://metadata.google.internal/", False),
        ("http://metadata.google.internal.example/", True),
        ("http://sts.example.com/", True),
        ("http://10.0.0.1/", True),
    ],
)
def test_no_credential_goes_over_plain_http_to_another_machine(url: str, refused: bool) -> None:
    if not refused:
        network.refuse_clear_text(url)
        return
    with pytest.raises(ConfigError, match="over plain http"):
        network.refuse_clear_text(url)


@pytest.mark.parametrize(
    ("backend", "ref", "variable"),
    [
        ("aws", "aws:x?region=eu-west-1", "AWS_CA_BUNDLE"),
        ("gcp", "gcp:p1/x", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"),
        ("azure", "azure:my-vault/x", "REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_file_of_authorities_that_is_not_there_is_a_mistake_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certificates: Certificates,
    backend: str,
    ref: str,
    variable: str,
) -> None:
    from astro_token.secrets.registry import open_backend

    given = {
        variable: str(tmp_path / "nothing.pem"),
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AZURE_TENANT_ID": "11111111-1111-1111-1111-111111111111",
        "AZURE_CLIENT_ID": "c",
        "AZURE_CLIENT_SECRET": "d",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        read(open_backend(backend), ref, timeout=5)
    assert variable in raised.value.message
