"""Certificates, both ways, and a server that is not ready."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from astro_token.errors import AccessDeniedError, BackendDownError, ConfigError, IntegrityError
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from tests.backends.vault.service import ROOT, SECONDS, failure, fields, ref
from tests.servers.certificates import Certificates
from tests.servers.faults import ConnectProxy, FaultServer
from tests.servers.openbao import OpenBao

if TYPE_CHECKING:
    from pathlib import Path

    from astro_token.errors import AstroTokenError
    from astro_token.secret import SecretValue
    from tests.servers.certificates import Pair

VALUE = json.dumps({"data": {"token": "x"}}).encode()
PLACE = "vault:secret/a?kv=1"


def read(server: FaultServer | str, **environ: str) -> SecretValue:
    address = server if isinstance(server, str) else server.url
    vault = KeyValue(VaultClient({"VAULT_ADDR": address, "VAULT_TOKEN": "t", **environ}))
    try:
        return vault.read(ref(PLACE), timeout=SECONDS)
    finally:
        vault.close()


def refused(server: FaultServer, **environ: str) -> AstroTokenError:
    error = failure(lambda: read(server, **environ))
    assert server.count == 0, "a request reached a server that is not trusted"
    return error


def serving(pair: Pair, **options: bool) -> FaultServer:
    return FaultServer(200, VALUE, tls=pair.context(**options))  # type: ignore[arg-type]


# -- whom we trust ------------------------------------------------------------------------------------


def test_an_own_authority_istrusted_when_it_is_named(certificates: Certificates, tmp_path: Path) -> None:
    ca = str(certificates.ca_file)
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "ours.crt").write_bytes(certificates.ca_file.read_bytes())
    with serving(certificates.server) as server:
        for variable, value in (
            ("VAULT_CACERT", ca),
            ("VAULT_CAPATH", str(folder)),
            ("ASTRO_TOKEN_CA_BUNDLE", ca),
        ):
            assert {"token": "x"} == fields(read(server, **{variable: value}))
        named = server.url.replace("127.0.0.1", "localhost")
        assert {"token": "x"} == fields(read(named, VAULT_CACERT=ca))


def test_no_other_variable_makes_ittrusted(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(certificates.ca_file))
    with serving(certificates.server) as server:
        # The negative control: requests alone does believe them.
        assert requests.get(server.url, timeout=30).status_code == 200
        server.requests.clear()
        error = refused(server)
        assert type(error) is IntegrityError
        assert "is not trusted" in error.message
        assert "VAULT_CACERT" in (error.hint or "")


def test_a_named_authority_replaces_the_usual_ones_and_the_bundle_is_added(
    certificates: Certificates, tmp_path: Path
) -> None:
    from astro_token_backends.vault.settings import read_settings

    def roots(**environ: str) -> int:
        trust = read_settings({"VAULT_ADDR": "https://vault.example", **environ}).route.trust
        assert trust
        return trust.context().cert_store_stats()["x509_ca"]

    ca = str(certificates.ca_file)
    usual = roots()
    assert usual > 1
    assert usual + 1 == roots(ASTRO_TOKEN_CA_BUNDLE=ca)
    assert roots(VAULT_CACERT=ca) == 1
    assert roots(VAULT_CACERT=ca, VAULT_CAPATH="/nonexistent") == 1


def test_the_usual_authorities_do_not_step_in_for_the_one_that_is_named(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ours stands for a public one, in the file where requests keeps those.
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificates.ca_file))
    named = Certificates(tmp_path / "other").ca_file
    with serving(certificates.server) as server:
        assert requests.get(server.url, timeout=30).status_code == 200
        server.requests.clear()
        assert type(refused(server, VAULT_CACERT=str(named))) is IntegrityError


def test_another_authority_is_nottrusted(certificates: Certificates) -> None:
    with serving(certificates.unknown_ca) as server:
        assert type(refused(server, VAULT_CACERT=str(certificates.ca_file))) is IntegrityError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("self_signed", "is not trusted"),
        ("expired", "has expired"),
        ("not_yet_valid", "is not valid yet"),
        ("wrong_host", "is for another host"),
    ],
)
def test_a_bad_certificate_is_told_by_what_is_bad_about_it(
    certificates: Certificates, name: str, said: str
) -> None:
    with serving(getattr(certificates, name)) as server:
        error = refused(server, VAULT_CACERT=str(certificates.ca_file))
        assert type(error) is IntegrityError
        assert said in error.message


def test_a_certificate_for_another_name_is_refused_for_a_name_too(certificates: Certificates) -> None:
    with serving(certificates.wrong_host) as server:
        named = server.url.replace("127.0.0.1", "localhost")
        error = failure(lambda: read(named, VAULT_CACERT=str(certificates.ca_file)))
        assert "is for another host" in error.message
        assert server.count == 0


def test_old_tls_is_refused(certificates: Certificates) -> None:
    with serving(certificates.server, ancient=True) as server:
        assert type(refused(server, VAULT_CACERT=str(certificates.ca_file))) is IntegrityError


@pytest.mark.parametrize(
    "variable", ["VAULT_CACERT", "VAULT_CAPATH", "ASTRO_TOKEN_CA_BUNDLE", "VAULT_CLIENT_CERT"]
)
@pytest.mark.parametrize("kind", ["missing", "garbage", "folder"])
def test_a_file_that_cannot_be_used_is_named_by_its_variable(
    certificates: Certificates, tmp_path: Path, variable: str, kind: str
) -> None:
    path = tmp_path / "file"
    if kind == "garbage":
        path.write_text("-----BEGIN nothing")
    elif kind == "folder":
        path.mkdir()
        (path / "garbage.pem").write_text("garbage")
    with serving(certificates.server) as server:
        error = refused(server, **{variable: str(path)})
        assert type(error) is ConfigError
        assert variable in error.message


def test_what_was_named_and_not_usable_is_not_passed_over(certificates: Certificates) -> None:
    """The usual roots do not step in for an authority that was asked for."""
    error = failure(lambda: read("https://localhost:1", VAULT_CACERT="/nonexistent"))
    assert type(error) is ConfigError


def test_an_encrypted_client_key_is_refused_without_asking_for_its_password(
    certificates: Certificates, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.client.key.read_bytes(), None)
    encrypted = tmp_path / "client.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    program = f"""
import os, sys
os.open(sys.argv[1], os.O_RDWR)  # its controlling terminal, where OpenSSL would ask
from astro_token.errors import ConfigError
from astro_token_backends.vault.settings import read_settings
try:
    read_settings({{"VAULT_ADDR": "https://vault.example",
        "VAULT_CLIENT_CERT": {str(certificates.client.certificate)!r},
        "VAULT_CLIENT_KEY": {str(encrypted)!r}}}).route.trust.context()
except ConfigError:
    print("refused")
"""
    terminal, other_end = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, os.ttyname(other_end)],
            cwd=ROOT,
            env={"PYTHONPATH": "core:backends", "PATH": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )
    finally:
        os.close(terminal)
        os.close(other_end)
    assert (b"refused\n", b"") == (done.stdout, done.stderr)


# -- who we are ---------------------------------------------------------------------------------------


def test_a_client_certificate_is_shown_where_one_is_wanted(certificates: Certificates) -> None:
    ca = str(certificates.ca_file)
    pair, both = certificates.client, certificates.folder / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    with FaultServer(200, VALUE, tls=certificates.server.context(client_ca=certificates.ca_file)) as server:
        shown = {"VAULT_CLIENT_CERT": str(pair.certificate), "VAULT_CLIENT_KEY": str(pair.key)}
        assert {"token": "x"} == fields(read(server, VAULT_CACERT=ca, **shown))
        assert {"token": "x"} == fields(read(server, VAULT_CACERT=ca, VAULT_CLIENT_CERT=str(both)))
        server.requests.clear()
        error = refused(server, VAULT_CACERT=ca)
        assert type(error) is AccessDeniedError
        assert "VAULT_CLIENT_CERT" in (error.hint or "")
        stranger = certificates.unknown_ca
        shown = {"VAULT_CLIENT_CERT": str(stranger.certificate), "VAULT_CLIENT_KEY": str(stranger.key)}
        assert type(refused(server, VAULT_CACERT=ca, **shown)) is AccessDeniedError


# -- through a proxy ----------------------------------------------------------------------------------


def test_a_proxy_is_used_for_https_and_sees_no_more_than_the_host(certificates: Certificates) -> None:
    pair = certificates.issue("vault-example", "vault.example")
    environ = {"VAULT_CACERT": str(certificates.ca_file), "VAULT_TOKEN": "the-token-of-vault"}
    with serving(pair) as server, ConnectProxy(routes={"vault.example": server.port}) as proxy:
        value = read(
            "https://vault.example", HTTPS_PROXY=f"http://user:pass@127.0.0.1:{proxy.port}", **environ
        )
        assert {"token": "x"} == fields(value)
        assert ["vault.example:443"] == proxy.targets
        assert not proxy.saw("the-token-of-vault")
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert "proxy-authorization" not in server.requests[0].headers
        assert server.saw("the-token-of-vault")


def test_the_certificate_is_checked_through_a_proxy_too(certificates: Certificates) -> None:
    with (
        serving(certificates.wrong_host) as server,
        ConnectProxy(routes={"vault.example": server.port}) as proxy,
    ):
        environ = {"HTTPS_PROXY": proxy.url, "VAULT_CACERT": str(certificates.ca_file)}
        error = failure(lambda: read("https://vault.example", **environ))
        assert type(error) is IntegrityError
        assert server.count == 0


# -- a server that is not ready -----------------------------------------------------------------------


def test_not_initialised_sealed_and_open_are_told_apart(certificates: Certificates) -> None:
    environ = {"VAULT_CACERT": str(certificates.ca_file)}
    with OpenBao(certificates) as openbao:
        address = openbao.address
        error = failure(lambda: read(address, **environ))
        assert type(error) is BackendDownError
        openbao.initialise()
        error = failure(lambda: read(address, **environ))
        assert type(error) is BackendDownError
        assert "sealed" in error.message
        openbao.unseal()
        openbao.api("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "1"}})
        openbao.api("POST", "secret/a", {"token": "x"})
        assert {"token": "x"} == fields(read(address, VAULT_TOKEN=openbao.root_token, **environ))
        openbao.seal()
        for place in (PLACE, "vault:secret/a"):
            vault = KeyValue(VaultClient({"VAULT_ADDR": address, "VAULT_TOKEN": "t", **environ}))
            error = failure(lambda: vault.read(ref(place), timeout=SECONDS))  # noqa: B023
            assert type(error) is BackendDownError
        login = {"VAULT_TOKEN": "", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
        assert type(failure(lambda: read(address, **environ, **login))) is BackendDownError


def test_plain_http_to_a_tls_port_is_no_answer_of_vault(openbao_tls: OpenBao) -> None:
    address = openbao_tls.address.replace("https:", "http:")
    error = failure(lambda: read(address))
    assert type(error) is IntegrityError
    assert "scheme" in (error.hint or "")
