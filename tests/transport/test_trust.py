"""CA bundles: which one is used, in which forms it is read, and how an unusable one is reported."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest

from astro_token.errors import ConfigError
from astro_token.transport import trust as trust_module
from astro_token.transport.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.certificates import Certificates


def count(trust: Trust) -> int:
    return trust.context().cert_store_stats()["x509"]


@pytest.fixture(autouse=True)
def no_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_module, "_contexts", {})


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without certificates."""
    monkeypatch.setattr(trust_module, "_system_paths", lambda: (None, None))


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda pem: pem,
    "byte-order mark": lambda pem: b"\xef\xbb\xbf" + pem,
    "Latin-1 comment": lambda pem: b"# Beh\xf6rde\n" + pem + b"\xe9\n",
    "UTF-8 comment": lambda pem: "# Behörde\n".encode() + pem,
    "CRLF": lambda pem: pem.replace(b"\n", b"\r\n"),
    "CR": lambda pem: pem.replace(b"\n", b"\r"),
    "no last line end": lambda pem: pem.rstrip(),
    "blanks": lambda pem: pem.replace(b"\n", b"  \n"),
    "twice": lambda pem: pem + pem,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variable", ["OWN", "SSL_CERT_FILE", "ASTRO_TOKEN_CA_BUNDLE"])
def test_a_file_may_have_any_comment_and_line_end(
    certificates: Certificates, tmp_path: Path, no_system: None, form: str, variable: str
) -> None:
    pem = certificates.ca_file.read_bytes()
    file = tmp_path / "ca.pem"
    file.write_bytes(FORMS[form](pem))
    trust = Trust({variable: f" {file}\r\n"}, ("OWN",))
    assert 1 == count(trust)
    assert ssl.PEM_cert_to_DER_cert(pem.decode()) == ssl.PEM_cert_to_DER_cert(trust.pem().decode())


BAD: dict[str, Callable[[Path], object]] = {
    "missing": lambda _: None,
    "empty": lambda path: path.write_bytes(b""),
    "comment only": lambda path: path.write_bytes(b"# nothing\n"),
    "UTF-16": lambda path: path.write_bytes("-----BEGIN CERTIFICATE-----".encode("utf-16")),
    "cut": lambda path: path.write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB\n"),
    "damaged": lambda path: (
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n") and None
    ),
    "not ASCII": lambda path: (
        path.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n") and None
    ),
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", [*BAD, "null byte"])
@pytest.mark.parametrize(
    "variable", ["OWN", "VAULT_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "ASTRO_TOKEN_CA_BUNDLE"]
)
def test_an_unusable_file_is_named_by_its_variable(tmp_path: Path, kind: str, variable: str) -> None:
    path = tmp_path / "ca"
    BAD.get(kind, BAD["missing"])(path)
    own = variable if variable == "VAULT_CAPATH" else "OWN"
    trust = Trust({variable: f"{path}\0" if kind == "null byte" else str(path)}, (own,))
    with pytest.raises(ConfigError) as raised:
        trust.context()
    assert (78, True) == (raised.value.exit_code, variable in raised.value.message)
    assert str(tmp_path) not in raised.value.message


def test_an_unreadable_file_is_named_by_its_variable(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: str) -> bytes:
        raise PermissionError(13, "s3cr3t")

    monkeypatch.setattr(trust_module, "_content", denied)
    with pytest.raises(ConfigError, match=r"OWN names cannot be read \(permission denied\)"):
        Trust({"OWN": str(certificates.ca_file)}, ("OWN",)).context()


def test_the_services_own_variable_wins_and_ours_is_added(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, folder = str(certificates.ca_file), tmp_path / "folder"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(certificates.ca_file.read_bytes())
    (folder / "README").write_bytes(b"not a certificate")
    monkeypatch.setattr(trust_module, "_system_paths", lambda: (ca, None))
    everything = {
        "A": ca,
        "B": "/nonexistent",
        "SSL_CERT_FILE": "/nonexistent",
        "SSL_CERT_DIR": "/nonexistent",
    }
    for environ, variables in (
        (everything, ("A",)),
        ({"B": str(ca)}, ("B",)),
        (
            {"SSL_CERT_FILE": ca, "SSL_CERT_DIR": f"/nonexistent{os.pathsep}{folder}"},
            ("SSL_CERT_FILE", "SSL_CERT_DIR"),
        ),
        ({"SSL_CERT_DIR": str(folder)}, ("SSL_CERT_DIR",)),
        ({"A": " ", "SSL_CERT_FILE": "\n"}, ()),
    ):
        trust = Trust(environ, ("A", "B"))
        assert (variables, 1) == (trust.variables, count(trust))
    other = tmp_path / "other.pem"
    other.write_bytes(certificates.self_signed.certificate.read_bytes())
    for environ in ({}, {"A": ca}):
        trust = Trust({**environ, "ASTRO_TOKEN_CA_BUNDLE": str(other)}, ("A",))
        assert (2, 2) == (count(trust), trust.pem().count(b"BEGIN CERTIFICATE"))


def test_requests_own_variable_may_name_a_folder(certificates: Certificates) -> None:
    assert count(Trust({"REQUESTS_CA_BUNDLE": str(certificates.folder)}, ("REQUESTS_CA_BUNDLE",))) > 0


def test_the_system_is_searched_in_order(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Paths:
        openssl_cafile = str(tmp_path / "cert.pem")
        openssl_capath = str(tmp_path / "certs")

    pem = certificates.ca_file.read_bytes()
    bundle = tmp_path / "bundle.pem"
    (tmp_path / "certs").mkdir()
    monkeypatch.setattr(ssl, "get_default_verify_paths", Paths)
    monkeypatch.setattr(trust_module, "_BUNDLES", (str(bundle),))
    import certifi

    assert (certifi.where(), None) == trust_module._system_paths()
    bundle.write_bytes(pem)
    assert (str(bundle), None) == trust_module._system_paths()
    (tmp_path / "certs" / "0123abcd.0").write_bytes(pem)
    assert (None, Paths.openssl_capath) == trust_module._system_paths()
    assert 1 == Trust({}).pem().count(b"BEGIN CERTIFICATE")
    (tmp_path / "cert.pem").write_bytes(pem)
    assert (Paths.openssl_cafile, Paths.openssl_capath) == trust_module._system_paths()
    assert 1 == Trust({}).pem().count(b"BEGIN CERTIFICATE")


def test_a_machine_without_certificates_is_told_so(no_system: None, certificates: Certificates) -> None:
    with pytest.raises(ConfigError, match="no CA certificates"):
        Trust({}).context()
    assert 1 == count(Trust({"ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file)}))


def test_keys_of_sessions_go_to_no_file_and_old_tls_is_off(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = Trust({"OWN": str(certificates.ca_file)}, ("OWN",)).context()
    assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)
    assert not context.keylog_filename
    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version


def test_a_context_is_made_again_only_if_a_file_changed(certificates: Certificates, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ca_file.read_bytes())

    def context() -> ssl.SSLContext:
        return Trust({"OWN": str(file)}, ("OWN",)).context()

    first = context()
    assert first is context()
    os.utime(file, (1, 1))
    assert first is not context()


@pytest.mark.parametrize("variable", ["SSL_CERT_DIR", "VAULT_CAPATH"])
def test_a_file_that_changed_in_one_of_several_folders_is_read_again(
    certificates: Certificates, tmp_path: Path, variable: str
) -> None:
    files = [tmp_path / name / "ca.pem" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(certificates.ca_file.read_bytes())

    def context() -> ssl.SSLContext:
        return Trust({variable: f"{tmp_path}/a:{tmp_path}/b"}, ("VAULT_CAPATH",)).context()

    for file in files:
        first = context()
        assert first is context()
        os.utime(file, (2**31, 2**31))
        assert first is not context()
        os.utime(file, (1, 1))


def test_a_client_certificate_is_loaded_or_named(certificates: Certificates) -> None:
    environ, pair = {"OWN": str(certificates.ca_file)}, certificates.client
    Trust(environ, ("OWN",), (str(pair.certificate), str(pair.key), "THE_CERT")).context()
    for file in (str(certificates.ca_file), "/nonexistent", "\0"):
        with pytest.raises(ConfigError, match="THE_CERT"):
            Trust(environ, ("OWN",), (file, None, "THE_CERT")).context()


def test_a_tilde_is_the_home(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_bytes(certificates.ca_file.read_bytes())
    assert 1 == count(Trust({"OWN": "~/ca.pem"}, ("OWN",)))
