"""Releases are served as GitHub serves them, and to nobody who sends a credential along."""

from __future__ import annotations

import hashlib
import http.client
import io
import shlex
import signal
import ssl
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.servers.releases import PLATFORMS, Releases
from tests.servers.test_by_hand import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.certificates import Certificates

NAME = "astro_1.45.0_linux_amd64.tar.gz"


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Releases]:
    with Releases(certificates.server.context()) as server:
        server.publish("1.45.0")
        yield server


@pytest.fixture
def ask(certificates: Certificates) -> Ask:
    return Ask(ssl.create_default_context(cafile=certificates.ca_file))


class Ask:
    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust

    def __call__(
        self, url: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, str, bytes]:
        address = urlsplit(url)
        connection = http.client.HTTPSConnection(address.netloc, timeout=30, context=self._trust)
        with closing(connection):
            target = address.path + (f"?{address.query}" if address.query else "")
            connection.request(method, target, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Location", ""), answer.read()


def test_the_latest_release_is_told_by_a_redirect_to_its_page(server: Releases, ask: Ask) -> None:
    assert (302, f"{server.url}/tag/v1.45.0", b"") == ask(f"{server.url}/latest")
    assert 200 == ask(f"{server.url}/tag/v1.45.0")[0]
    server.publish("1.46.0")
    assert f"{server.url}/tag/v1.46.0" == ask(f"{server.url}/latest")[1]


def test_a_file_is_on_another_host_and_needs_the_signature(server: Releases, ask: Ask) -> None:
    status, place, _ = ask(f"{server.url}/download/v1.45.0/{NAME}")
    assert (302, "localhost", "127.0.0.1") == (
        status,
        urlsplit(place).hostname,
        urlsplit(server.url).hostname,
    )
    assert urlsplit(place).port != urlsplit(server.url).port
    assert (200, server.files["1.45.0"][NAME]) == (ask(place)[0], ask(place)[2])
    bare, _, signature = place.partition("?sig=")
    other = bare.replace("linux_amd64", "linux_arm64")
    for wrong in (bare, f"{bare}?sig=", f"{bare}?sig={signature[:-1]}", f"{other}?sig={signature}"):
        assert 403 == ask(wrong)[0]


@pytest.mark.parametrize(
    "path",
    [
        "/download/v1.45.1/" + NAME,
        "/download/v1.45.0/astro.exe",
        "/download/1.45.0/" + NAME,
        "/tag/v9.9.9",
        "/x",
    ],
)
def test_what_there_is_not_is_not_found(server: Releases, ask: Ask, path: str) -> None:
    assert 404 == ask(server.url + path)[0]


def test_without_a_release_there_is_no_latest_one(certificates: Certificates, ask: Ask) -> None:
    with Releases(certificates.server.context()) as server:
        assert 404 == ask(f"{server.url}/latest")[0]


@pytest.mark.parametrize("header", ["Authorization", "Cookie", "Proxy-Authorization"])
def test_a_credential_is_refused_by_both_hosts(server: Releases, ask: Ask, header: str) -> None:
    url = f"{server.url}/download/v1.45.0/{NAME}"
    place = ask(url)[1]
    assert [400, 400] == [ask(where, {header: "x"})[0] for where in (url, place)]
    assert [405, 405] == [ask(where, method="POST")[0] for where in (url, place)]


def test_the_checksum_file_and_the_archives_are_those_of_a_release(server: Releases) -> None:
    files = server.files["1.45.0"]
    sums = dict(line.split("  ")[::-1] for line in files["astro_1.45.0_checksums.txt"].decode().splitlines())
    names = {f"astro_1.45.0_{platform}.tar.gz" for platform in PLATFORMS} | {"astro_1.45.0_windows_amd64.zip"}
    assert names == sums.keys()
    for name in names:
        assert hashlib.sha256(files[name]).hexdigest() == sums[name]
    with tarfile.open(fileobj=io.BytesIO(files[NAME])) as tar:
        assert ["LICENSE", "README.md", "astro"] == tar.getnames()


@pytest.mark.parametrize("more", [[], ["1.44.0", "--tampered"]])
def test_it_can_be_started_by_hand(more: list[str]) -> None:
    with start("tests.servers.releases", *more) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert f"# release {more[0] if more else '1.45.0'}\n" == lines[0]
    names = [shlex.split(line)[1].partition("=")[0] for line in lines[2:]]
    assert ["ASTRO_TOKEN_CLI_RELEASES_URL", "ASTRO_TOKEN_CA_BUNDLE"] == names
