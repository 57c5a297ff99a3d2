"""
A certificate authority of our own and what it signed, good and bad, in a folder.

    certificates = Certificates(folder)
    certificates.ca_file             what a client has to trust
    certificates.server.context()    an ssl.SSLContext for a server
"""

from __future__ import annotations

import dataclasses
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ("localhost", "127.0.0.1", "::1")
# The clouds' own names, for clients that are led here by a proxy: see faults.ConnectProxy.
CLOUD_HOSTS = (
    "*.vault.azure.net",
    "login.microsoftonline.com",
    "secretmanager.googleapis.com",
    "*.rep.googleapis.com",
    "sts.googleapis.com",
    "oauth2.googleapis.com",
    "iamcredentials.googleapis.com",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path

    def context(self, *, client_ca: Path | None = None, ancient: bool = False) -> ssl.SSLContext:
        """
        The settings of a server that shows this certificate.

        Args:
            client_ca: demands a client's certificate, signed by this authority.
            ancient: speaks TLS 1.1 at the most, as no client should accept.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        # gRPC hangs up unless h2 is agreed on; others take what comes first.
        context.set_alpn_protocols(["http/1.1", "h2"])
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        if ancient:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context


class Certificates:
    """
    Each certificate is made when it is first asked for.

    Attributes:
        folder: where the files are; keys are readable by their owner only.
        ca_file: the authority's certificate.
        server: valid for loopback names and addresses, and for the clouds' own names.
        client: of a client, for mutual TLS; its common name is `ci`.
        self_signed: right names, signed by itself.
        unknown_ca: right names, signed by an authority that nobody trusts.
        expired: right names, no longer valid.
        not_yet_valid: right names, valid from tomorrow.
        wrong_host: valid, for another name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._ca.cert_pem.bytes())

    def issue(
        self,
        name: str,
        *hosts: str,
        common_name: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Pair:
        """Signs a certificate for these hosts and writes it to files called after `name`."""
        return self._write(
            name,
            self._ca.issue_cert(*hosts, common_name=common_name, not_before=not_before, not_after=not_after),
        )

    @cached_property
    def server(self) -> Pair:
        return self.issue("server", *HOSTS, *CLOUD_HOSTS)

    @cached_property
    def client(self) -> Pair:
        return self.issue("client", "ci.example", common_name="ci")

    @cached_property
    def expired(self) -> Pair:
        now = datetime.now(UTC)
        return self.issue(
            "expired", *HOSTS, *CLOUD_HOSTS, not_before=now - timedelta(30), not_after=now - timedelta(1)
        )

    @cached_property
    def not_yet_valid(self) -> Pair:
        return self.issue("not-yet-valid", *HOSTS, not_before=datetime.now(UTC) + timedelta(1))

    @cached_property
    def wrong_host(self) -> Pair:
        return self.issue("wrong-host", "elsewhere.example")

    @cached_property
    def unknown_ca(self) -> Pair:
        return self._write("unknown-ca", trustme.CA().issue_cert(*HOSTS, *CLOUD_HOSTS))

    @cached_property
    def self_signed(self) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        # The names are those of a good certificate, so that only the signature can be found fault with.
        good = x509.load_pem_x509_certificate(self.server.certificate.read_bytes())
        names = good.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(1))
            .not_valid_after(now + timedelta(30))
            .add_extension(names.value, critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._files("self-signed", certificate.public_bytes(serialization.Encoding.PEM), pem)

    def _write(self, name: str, leaf: trustme.LeafCert) -> Pair:
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return self._files(name, chain, leaf.private_key_pem.bytes())

    def _files(self, name: str, certificate: bytes, key: bytes) -> Pair:
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(certificate)
        pair.key.touch(0o600)
        pair.key.write_bytes(key)
        return pair


def main() -> None:
    import argparse
    import shlex
    from pathlib import Path

    parser = argparse.ArgumentParser(description="Write a test authority and its certificates to a folder.")
    parser.add_argument("folder", type=Path)
    certificates = Certificates(parser.parse_args().folder.resolve())
    for name in ("server", "client", "expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed"):
        print(f"# {name}: {getattr(certificates, name).certificate}")
    for variable in ("ASTRO_TOKEN_CA_BUNDLE", "VAULT_CACERT"):
        print(f"export {variable}={shlex.quote(str(certificates.ca_file))}")


if __name__ == "__main__":
    main()
