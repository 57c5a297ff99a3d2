"""
The CA bundle of a route.

The service's own variable wins over `SSL_CERT_FILE` and `SSL_CERT_DIR`, these over the system's certificates,
and these over certifi's. The certificates of `ASTRO_TOKEN_CA_BUNDLE` are added.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    # The files of a certificate, if there is one, and its key; the names of their variables, for messages.
    ClientCertificate = tuple[str | None, str | None, str]

__all__ = ["CA_VARIABLE", "Trust", "setting"]

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


def setting(environ: Mapping[str, str], name: str) -> str:
    """A variable without blanks and line ends around its value; empty counts as unset."""
    return environ.get(name, "").strip()


class Trust:
    """
    Attributes:
        variables: those that name certificates in place of the system's; empty for the system's.
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
        """Equal for the same certificates. A file that changes is read again."""
        client = self.client[:2] if self.client else ()
        paths = [path for _, path in self._files] + [path for path in client if path]
        return (self.variables, self._files, client, *map(_changed, paths))

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """
        The TLS settings: TLS 1.2 or later, and no file that receives the keys of sessions.

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

        # Not create_default_context, which honours SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A bundle may consist of an intermediate authority, as for Go, gRPC and Python 3.13.
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
            f"{variables} names a file that cannot be read, or is not a PEM file of its kind",
            hint="check both files; the key must not be encrypted",
        )


def _changed(path: str) -> int:
    try:
        return os.stat(os.path.expanduser(path)).st_mtime_ns  # noqa: PTH111, PTH116 (pathlib is slow to load)
    except (OSError, ValueError):
        return 0


# -- files that a variable names ----------------------------------------------------------------------


def _certificates(variable: str, path: str) -> bytes:
    """The certificates in a file or folder, without comments, which may be in any encoding."""
    problem = "contains no certificate"
    try:
        if pem := _blocks(_files(variable, os.path.expanduser(path))):  # noqa: PTH111
            return pem
    except OSError as error:
        problem = f"cannot be read ({os.strerror(error.errno or 5).lower()})"
    except ValueError:
        problem = "cannot be read"
    raise _unusable(variable, problem)


def _files(variable: str, path: str) -> list[str]:
    is_folder = variable in _FOLDERS or (variable in _FILE_OR_FOLDER and os.path.isdir(path))  # noqa: PTH112
    if not is_folder:
        return [path]
    folders = path.split(os.pathsep)
    if len(folders) > 1:  # usual in SSL_CERT_DIR, and some may not exist
        folders = [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112
    entries = [entry for folder in folders for entry in os.scandir(folder)]
    return sorted(entry.path for entry in entries if entry.is_file())


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
    return _blocks(([file] if file else []) + _hashed(folder))


def _system_paths() -> tuple[str | None, str | None]:
    """
    A bundle and a folder of OpenSSL; else another bundle; else certifi's, if it is installed.

    OpenSSL finds a certificate in its folder by its hash, without reading the others.
    """
    import ssl

    # Not cafile and capath, which are those of SSL_CERT_FILE and SSL_CERT_DIR in this process.
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
    """The files of a folder whose names are hashes of certificates."""
    try:
        names = os.listdir(folder) if folder else []  # noqa: PTH208
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if len(name) == _HASHED_NAME and name.endswith(".0")]
