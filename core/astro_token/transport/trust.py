"""
The CA bundle of a route.

The first of these that exists is used: the service's own variable; `SSL_CERT_FILE` and `SSL_CERT_DIR`;
the system's certificates; certifi's. The certificates of `ASTRO_TOKEN_CA_BUNDLE` are always added.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError
from astro_token.system.variables import expanded, setting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    # The file of a certificate, the file of its key, and the names of their variables for messages.
    ClientCertificate = tuple[str | None, str | None, str]

__all__ = ["CA_VARIABLE", "Trust"]

CA_VARIABLE = "ASTRO_TOKEN_CA_BUNDLE"
_SHARED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_FOLDERS = frozenset({"SSL_CERT_DIR", "VAULT_CAPATH"})
_FILE_OR_FOLDER = frozenset({"REQUESTS_CA_BUNDLE"})
_BUNDLES = (  # as Go lists them
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_FILE_LIMIT = 16 * 1024 * 1024
_HASHED_NAME = 10  # eight hexadecimal digits and ".0"
_contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
_pems: dict[tuple[object, ...], bytes] = {}


class Trust:
    """
    Attributes:
        variables: the variables that replace the system's certificates; empty if none is set.
        ca_hint: the variables that can name a private authority.
        client: the certificate to show to the server, or None.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        ca_variables: Sequence[str] = (),
        client: ClientCertificate | None = None,
    ) -> None:
        def paths(variables: Sequence[str]) -> tuple[tuple[str, str], ...]:
            return tuple((name, path) for name in variables if (path := setting(environ, name)))

        named = paths(ca_variables)[:1] or paths(_SHARED)
        self.variables = tuple(name for name, _ in named)
        self._files = named + paths([CA_VARIABLE])
        self.ca_hint = " or ".join([*ca_variables[:1], CA_VARIABLE])
        self.client = client

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same files in the same state, so that a changed file is read again."""
        client = self.client[:2] if self.client else ()
        paths = [path for variable, text in self._files for path in _paths(variable, text)]
        return (self.variables, self._files, client, *map(_changed, [*paths, *filter(None, client)]))

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """
        The TLS settings: TLS 1.2 or later, without a key log (`SSLKEYLOGFILE`).

        Raises:
            ConfigError: a variable names a file that cannot be read or contains no certificate.
        """
        key = (*self.key, *alpn)
        if key not in _contexts:
            _contexts[key] = self._new_context(alpn)
        return _contexts[key]

    def pem(self) -> bytes:
        """All certificates, for a library that takes them as bytes. It raises as `context` does."""
        own = b"".join(_certificates(variable, path) for variable, path in self._files)
        return own if self.variables else own + _system_pem()

    def _new_context(self, alpn: Sequence[str]) -> ssl.SSLContext:
        import ssl

        # create_default_context would write the keys of sessions to SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # An intermediate CA may be the trust anchor, as in Go, gRPC and Python 3.13.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if alpn:
            context.set_alpn_protocols(list(alpn))
        for variable, path in self._files:
            try:
                context.load_verify_locations(cadata=_certificates(variable, path).decode("ascii"))
                continue
            except (ssl.SSLError, ValueError):
                pass
            raise _unusable(variable, "contains a damaged certificate")
        if not self.variables:
            _load_system(context, required=not self._files)
        certificate, private_key, variables = self.client or (None, None, "")
        if certificate is None:
            return context
        try:
            # The empty password keeps OpenSSL from prompting for one on the terminal.
            context.load_cert_chain(certificate, private_key, password="")
            return context
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            pass
        raise ConfigError(
            f"{variables} names a file that cannot be read, or holds no certificate or key in PEM form",
            hint="check both files; the key must not be encrypted",
        )


def _changed(path: str) -> int:
    """The time of the last change of a file, or of a folder and the files in it."""
    try:
        files = [path, *_entries(path)] if os.path.isdir(path) else [path]  # noqa: PTH112
        return max(os.stat(file).st_mtime_ns for file in files)  # noqa: PTH116 (pathlib is slow to load)
    except (OSError, ValueError):
        return 0


# -- files that a variable names ----------------------------------------------------------------------


def _certificates(variable: str, path: str) -> bytes:
    """Read the certificates of a file or folder. Comments are left out: they may be in any encoding."""
    problem = "contains no certificate"
    try:
        if pem := _blocks(_files(variable, path)):
            return pem
    except OSError as error:
        problem = f"cannot be read ({os.strerror(error.errno or 5).lower()})"
    except ValueError:
        problem = "cannot be read"
    raise _unusable(variable, problem)


def _files(variable: str, text: str) -> list[str]:
    paths = _paths(variable, text)
    if variable not in _FOLDERS and not (variable in _FILE_OR_FOLDER and os.path.isdir(paths[0])):  # noqa: PTH112
        return paths
    if len(paths) > 1:  # usual in SSL_CERT_DIR, and some may not exist
        paths = [folder for folder in paths if os.path.isdir(folder)]  # noqa: PTH112
    return [file for folder in paths for file in _entries(folder)]


def _paths(variable: str, text: str) -> list[str]:
    """The file that a variable names, or its folders."""
    return [expanded(path) for path in (text.split(os.pathsep) if variable in _FOLDERS else [text])]


def _entries(folder: str) -> list[str]:
    return sorted(entry.path for entry in os.scandir(folder) if entry.is_file())


def _blocks(paths: list[str]) -> bytes:
    """The certificates in files, without repetitions."""
    blocks: dict[bytes, None] = {}
    for path in paths:
        for piece in _content(path).split(_BEGIN)[1:]:
            block, end, _ = piece.partition(_END)
            if end:
                blocks[b"\n".join([_BEGIN, *block.split(), _END, b""])] = None
    return b"".join(blocks)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(_FILE_LIMIT)


def _unusable(variable: str, problem: str) -> ConfigError:
    kind = "folder" if variable in _FOLDERS else "file"
    return ConfigError(
        f"the {kind} that {variable} names {problem}",
        hint=f"set {variable} to a {kind} of CA certificates in PEM form, or unset it",
    )


# -- the system's certificates ------------------------------------------------------------------------


def _load_system(context: ssl.SSLContext, *, required: bool) -> None:
    if sys.platform == "win32":
        context.load_default_certs()
        return
    file, folder = _system_paths()
    if file or folder:
        context.load_verify_locations(file, folder)
    elif required:
        raise ConfigError(
            "this machine has no CA certificates",
            hint=f"install the package ca-certificates, or name a file in SSL_CERT_FILE or {CA_VARIABLE}",
        )


def _system_pem() -> bytes:
    if sys.platform == "win32":
        import ssl

        ders = [der for der, kind, _ in ssl.enum_certificates("ROOT") if kind == "x509_asn"]
        return "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode("ascii")
    file, folder = _system_paths()
    key = (file, folder, *map(_changed, filter(None, (file, folder))))
    if key not in _pems:  # hundreds of files, which each channel would read again
        _pems[key] = _blocks(([file] if file else []) + _hashed(folder))
    return _pems[key]


def _system_paths() -> tuple[str | None, str | None]:
    """
    A bundle and a folder of OpenSSL; else another bundle; else certifi's, if it is installed.

    OpenSSL finds a certificate in its folder by its hash, without reading the others.
    """
    import ssl

    # cafile and capath would follow SSL_CERT_FILE and SSL_CERT_DIR of this process.
    paths = ssl.get_default_verify_paths()
    file = paths.openssl_cafile if _is_filled(paths.openssl_cafile) else None
    folder = paths.openssl_capath if _hashed(paths.openssl_capath) else None
    if not file and not folder:
        file = next(filter(_is_filled, _BUNDLES), None)
    if file or folder:
        return file, folder
    try:
        from certifi import where
    except ImportError:
        return None, None
    return where(), None


def _is_filled(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0 and os.access(path, os.R_OK)  # noqa: PTH202
    except OSError:
        return False


def _hashed(folder: str | None) -> list[str]:
    """List the files of a folder that OpenSSL finds by the hash in their names."""
    try:
        names = os.listdir(folder) if folder else []  # noqa: PTH208
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if len(name) == _HASHED_NAME and name.endswith(".0")]
