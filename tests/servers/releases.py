"""
Releases of the Astro CLI, as GitHub serves them: two hosts, both over TLS and strict.

    127.0.0.1   …/releases/latest                   302 to …/releases/tag/vVERSION
                …/releases/tag/vVERSION             a page
                …/releases/download/vVERSION/FILE   302 to the other host, with a signature that expires
    localhost   /FILE-ID?sig=…                      the file, or 403 without the signature

A request that carries a credential is refused by both.
A release is a map of files, for a test to tamper with:

    with Releases(certificates.server.context()) as server:
        server.publish("1.45.0")
        server.files["1.45.0"]["astro_1.45.0_linux_amd64.tar.gz"] = tampered
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import secrets
import tarfile
from typing import TYPE_CHECKING

from tests.servers.http1 import Answer, HttpServer, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

PLATFORMS = ("darwin_amd64", "darwin_arm64", "linux_386", "linux_amd64", "linux_arm64")
_BASE = "/astronomer/astro-cli/releases"
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization", "x-github-token")


def program(version: str, platform: str = "") -> bytes:
    """What stands for the CLI: it says its version, and for which platform it was made."""
    lines = [
        "#!/bin/sh",
        f'[ "$1" = version ] && echo "Astro CLI Version: {version}" && exit',
        f"echo {platform}",
    ]
    return "\n".join([*lines, ""]).encode()


def member(
    name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    """A member of an archive; its content goes with it to `archive`."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, link, len(content), 0o755
    return made


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A `tar.gz` of these members, whatever they are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for made, content in members:
            tar.addfile(made, io.BytesIO(content))
    return file.getvalue()


def packed(content: bytes) -> bytes:
    """An archive as a release has it, with this program."""
    files = {"LICENSE": b"Apache License\n", "README.md": b"# Astro CLI\n", "astro": content}
    return archive((member(name, text), text) for name, text in files.items())


class Releases(HttpServer):
    """
    Attributes:
        files: by version, the files of each release by their names.
        latest: the version that is said to be the latest.
        elsewhere: where files are said to be, in place of the other host.
        requests: those to the first host.
        file_requests: those to the other one.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.latest: str | None = None
        self.elsewhere: str | None = None
        self._key = secrets.token_bytes(16)
        self._files = HttpServer(self._answer_file, tls=tls)
        self.file_requests = self._files.requests
        super().__init__(self._answer, tls=tls)
        self.url += _BASE

    def publish(self, version: str, *, content: bytes | None = None) -> None:
        """
        An honest release, which is the latest from now on.

        Args:
            content: of the program, for every platform.
        """
        self.files[version] = {
            f"astro_{version}_{platform}.tar.gz": packed(content or program(version, platform))
            for platform in PLATFORMS
        }
        self.files[version][f"astro_{version}_windows_amd64.zip"] = b"PK\x05\x06" + bytes(18)
        self.sum_up(version)
        self.latest = version

    def sum_up(self, version: str) -> None:
        """Writes the checksum file anew, over the files as they are."""
        files = self.files[version]
        name = f"astro_{version}_checksums.txt"
        files.pop(name, None)
        sums = [f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in sorted(files.items())]
        files[name] = "".join(sums).encode()

    def asked(self) -> list[str]:
        """What was asked for, in short: the last part of each path of the first host."""
        return [request.path.rpartition("/")[2] for request in self.requests]

    def close(self, grace: float = 0.0) -> None:
        super().close(grace)
        self._files.close(grace)

    def _answer(self, request: Request) -> Answer:
        refusal = _refusal(request)
        if refusal:
            return refusal
        path = request.path.removeprefix(_BASE)
        if path == "/latest" and self.latest:
            return _moved(f"{self.url}/tag/v{self.latest}")
        found = re.fullmatch(r"/tag/v([^/]+)", path)
        if found and found[1] in self.files:
            return Answer(200, b"<html>release</html>", content_type="text/html; charset=utf-8")
        found = re.fullmatch(r"/download/v([^/]+)/([^/]+)", path)
        if found and request.target.startswith(_BASE) and found[2] in self.files.get(found[1], {}):
            place = f"/{found[1]}/{found[2]}"
            host = self.elsewhere or f"https://localhost:{self._files.port}"
            return _moved(f"{host}{place}?sig={self._signature(place)}")
        return Answer(404, b"Not Found", content_type="text/plain")

    def _answer_file(self, request: Request) -> Answer:
        refusal = _refusal(request)
        if refusal:
            return refusal
        if not hmac.compare_digest(request.query.get("sig", ""), self._signature(request.path)):
            return Answer(403, b"<Error>AuthenticationFailed</Error>", content_type="application/xml")
        _, version, name = request.path.split("/")
        return Answer(200, self.files[version][name], content_type="application/octet-stream")

    def _signature(self, place: str) -> str:
        return hmac.new(self._key, place.encode(), "sha256").hexdigest()


def _refusal(request: Request) -> Answer | None:
    if request.method not in {"GET", "HEAD"}:
        return Answer(405, b"", content_type="text/plain")
    if any(name in request.headers for name in _CREDENTIALS):
        return Answer(400, b"this is public: keep your credential", content_type="text/plain")
    return None


def _moved(place: str) -> Answer:
    return Answer(302, b"", {"Location": place}, "text/html; charset=utf-8")


def main() -> None:
    import argparse
    import tempfile
    from pathlib import Path

    from tests.servers import by_hand
    from tests.servers.certificates import Certificates

    parser = argparse.ArgumentParser(
        description="Publish a release of something that stands for the Astro CLI."
    )
    parser.add_argument("version", nargs="?", default="1.45.0")
    parser.add_argument("--tampered", action="store_true", help="with archives that are not those summed up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        with Releases(certificates.server.context()) as server:
            server.publish(options.version)
            if options.tampered:
                for name in server.files[options.version]:
                    if name.endswith(".tar.gz"):
                        server.files[options.version][name] = packed(b"#!/bin/sh\necho evil\n")
            by_hand.serve(
                f"release {options.version}",
                {
                    "ASTRO_TOKEN_CLI_RELEASES_URL": server.url,
                    "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
                },
            )


if __name__ == "__main__":
    main()
