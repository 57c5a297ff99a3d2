"""Settings as people leave them: line ends, `~`, a credential in place of its file's name, no home."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.secrets.registry import open_backend
from tests.backends.clouds import in_a_process, read
from tests.backends.gcp.calls import failure
from tests.backends.gcp.test_login import DEPLOYER, ci, login, paths, present, principal, provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.ci_identity import CiIdentity
    from tests.servers.gcp import GcpServer
    from tests.servers.gcp_identity import ServiceAccount
    from tests.servers.gcp_login import GcpLogin

__all__ = ["ci", "login", "present", "provider"]

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
READ_WITHOUT_HOME = """
import os, pwd
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
from astro_token.errors import AstroTokenError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.registry import open_backend
try:
    print(open_backend("gcp").read(SecretRef.parse("gcp:p1/{name}"), timeout=10).reveal().decode())
except AstroTokenError as error:
    print(error.exit_code, error.message)
"""


def test_the_credential_in_place_of_its_files_name(
    server: GcpServer, account: ServiceAccount, key_file: Path, present: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f" {key_file.read_text()}\n")
    backend = open_backend("gcp")
    read(backend, present)
    assert account.email == principal(server)


def test_a_value_that_is_not_a_credential(server: GcpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, '{"type": "service_account", "private_key": "x"}')
    error = failure(open_backend("gcp"), "gcp:p1/s", "private_key")
    assert (77, f"{VARIABLE} is not a Google Cloud credential") == (error.exit_code, error.message)


@pytest.mark.parametrize("spelling", ["~/key.json", "~/key.json\n", "{home}/key.json\r\n"])
def test_a_files_name_with_a_tilde_and_a_line_end(
    server: GcpServer,
    account: ServiceAccount,
    present: str,
    spelling: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Path.home()
    account.write(home / "key.json")
    monkeypatch.setenv(VARIABLE, spelling.format(home=home))
    read(open_backend("gcp"), present)
    assert account.email == principal(server)


def test_a_file_with_a_byte_order_mark(
    server: GcpServer, account: ServiceAccount, key_file: Path, present: str
) -> None:
    key_file.write_bytes(b"\xef\xbb\xbf" + key_file.read_bytes())
    read(open_backend("gcp"), present)
    assert account.email == principal(server)


@pytest.mark.parametrize("make", [lambda path: None, os.mkdir, os.mkfifo], ids=["missing", "folder", "fifo"])
def test_a_file_that_cannot_be_read(
    server: GcpServer, tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "key.json")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "key.json"))
    error = failure(open_backend("gcp"), "gcp:p1/s")
    assert (77, f"the file of {VARIABLE} cannot be read") == (error.exit_code, error.message)


def test_a_line_end_is_removed_from_a_variable(
    ci: CiIdentity,
    login: GcpLogin,
    provider: str,
    server: GcpServer,
    present: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {
        "ASTRO_TOKEN_GCP_AUDIENCE": provider,
        "ASTRO_TOKEN_GCP_ENDPOINT": os.environ["ASTRO_TOKEN_GCP_ENDPOINT"],
        "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT": DEPLOYER,
        "ASTRO_TOKEN_GCP_STS_ENDPOINT": os.environ["ASTRO_TOKEN_GCP_STS_ENDPOINT"],
        "ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER": provider.removeprefix("https:"),
        "GOOGLE_CLOUD_QUOTA_PROJECT": "p2",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, f"{value}\n")
    read(open_backend("gcp"), present)
    assert (DEPLOYER, 2) == (principal(server), len(paths(login)))
    assert "p2" == server.seen[-1].metadata["x-goog-user-project"]


@pytest.mark.parametrize("has_identity", [True, False])
def test_no_login_needs_a_home(
    login: GcpLogin,
    provider: str,
    ci: CiIdentity,
    account: ServiceAccount,
    name: str,
    present: str,
    canary: str,
    tmp_path: Path,
    has_identity: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user without an entry in /etc/passwd, and without HOME. A folder named `~` is not a home."""
    folder = tmp_path / "~" / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps({"type": "unusable"}))
    monkeypatch.chdir(tmp_path)
    if not has_identity:
        monkeypatch.delenv("ASTRO_TOKEN_GCP_WORKLOAD_IDENTITY_PROVIDER")
    done = in_a_process(READ_WITHOUT_HOME.format(name=name), HOME=None)
    expected = canary if has_identity else "77 no Google Cloud credential is configured"
    assert (expected, "") == (done.stdout.strip(), done.stderr)
