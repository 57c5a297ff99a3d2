"""The parts of an installation that a run of the program cannot show: names, bounds, what is believed."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from astro_token.astro_cli.archive import unpack
from astro_token.astro_cli.download import read, save
from astro_token.astro_cli.release import archive_name, file_url, parse_version, platform_of, published
from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    IntegrityError,
    UnsupportedOperationError,
    UsageError,
)
from astro_token.settings.astro_cli_pin import PLATFORMS, VERSION, Lock, table
from astro_token.settings.project_file import find_project
from astro_token.transport.deadline import Deadline
from tests.rows import each_row
from tests.servers.listener import Listener
from tests.servers.releases import Releases, archive, member, packed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.certificates import Certificates

    Write = Callable[[str, str], Path]


def failure(call: Callable[[], object]) -> AstroTokenError:
    try:
        call()
    except AstroTokenError as error:
        return error
    raise AssertionError("it did not fail")


# -- names ----------------------------------------------------------------------------------------------


@each_row(
    ("system", "machine", "platform"),
    [
        ("linux", "x86_64", "linux-amd64"),
        ("linux", "AMD64", "linux-amd64"),
        ("linux", "i686", "linux-386"),
        ("linux", "i386", "linux-386"),
        ("linux", "aarch64", "linux-arm64"),
        ("darwin", "arm64", "darwin-arm64"),
        ("darwin", "x86_64", "darwin-amd64"),
    ],
)
def test_a_platform_has_the_name_that_its_archive_has(system: str, machine: str, platform: str) -> None:
    assert platform == platform_of(system, machine)


@each_row(
    ("system", "machine"),
    [
        ("linux", "riscv64"),
        ("linux", "ppc64le"),
        ("linux", "armv7l"),
        ("linux", ""),
        ("darwin", "i386"),
        ("win32", "AMD64"),
        ("freebsd14", "amd64"),
        ("cygwin", "x86_64"),
    ],
)
def test_a_platform_without_a_release_is_told_which_there_are(system: str, machine: str) -> None:
    error = failure(lambda: platform_of(system, machine))
    assert (UnsupportedOperationError, 78) == (type(error), error.exit_code)
    assert all(platform in (error.hint or "") for platform in PLATFORMS)


def test_an_archive_is_where_github_has_it() -> None:
    url = file_url("1.45.0", archive_name("1.45.0", "linux-amd64"), {})
    base = "https://github.com/astronomer/astro-cli/releases"
    assert f"{base}/download/v1.45.0/astro_1.45.0_linux_amd64.tar.gz" == url
    mirror = {"ASTRO_TOKEN_CLI_RELEASES_URL": "https://mirror.example/astro/"}
    assert "https://mirror.example/astro/download/v1.45.0/x" == file_url("1.45.0", "x", mirror)
    assert url == file_url("1.45.0", archive_name("1.45.0", "linux-amd64"), dict.fromkeys(mirror, ""))


@each_row(
    "version", ["0.0.0", "1.45.0", "10.20.30", "1.43.0-rc.1", "1.43.0-nightly.20260522", "1.43.0-nightly-2"]
)
def test_a_version_is_read_with_its_v_and_without(version: str) -> None:
    assert [version, version] == [parse_version(version), parse_version(f"v{version}")]


@each_row(
    "text",
    "|v|latest|1|1.45|1.45.0.0|vv1.45.0|1.45.0/..|../x|1.45.0?x|1.45.0#|1.45.0-|1.45.0\n|1.45.0 |"
    f"1.45.0-rc..1|\u0663.\u0664.\u0665|{'9' * 99}|1.45.0-{'x' * 99}".split("|"),
)
def test_what_is_no_version_is_not_repeated(text: str) -> None:
    error = failure(lambda: parse_version(text))
    assert (UsageError, "--version is not a version of the Astro CLI") == (type(error), error.message)


def test_no_version_can_lead_out_of_an_address_or_a_folder() -> None:
    for code in [*range(0x250), 0x660, 0x2028, 0xFF0E, 0x1F600]:
        character = chr(code)
        if not (character.isascii() and character.isdigit()):
            for text in (f"1.45.{character}", f"{character}1.45.0", f"1.45.0-{character}"):
                good = VERSION.fullmatch(text.removeprefix("v"))
                assert good is None or (character.isascii() and character.isalpha())
                if good is None:
                    with pytest.raises(UsageError):
                        parse_version(text)


def test_a_lock_is_read_as_it_was_written(write: Write) -> None:
    digests = {platform: f"{number:064x}" for number, platform in enumerate(PLATFORMS)}
    for lock in (Lock("1.45.0", digests), Lock("1.45.0-rc.1", {"linux-386": "a" * 64})):
        path = write("astro-token.toml", table(lock))
        assert lock == find_project(path.parent).astro_cli
        path.unlink()
        path = write("pyproject.toml", table(lock, prefix="tool.astro-token."))
        assert lock == find_project(path.parent).astro_cli
        path.unlink()


# -- checksum files -------------------------------------------------------------------------------------

SUM = "0123456789abcdef" * 4
NAME = "astro_1.45.0_linux_amd64.tar.gz"


@pytest.fixture
def environ(releases: Releases, certificates: Certificates) -> dict[str, str]:
    return {
        "ASTRO_TOKEN_CLI_RELEASES_URL": releases.url,
        "ASTRO_TOKEN_CA_BUNDLE": str(certificates.ca_file),
    }


@pytest.fixture
def releases(certificates: Certificates) -> Iterator[Releases]:
    with Releases(certificates.server.context()) as server:
        server.publish("1.45.0")
        yield server


def test_a_checksum_file_says_what_there_is(releases: Releases, environ: dict[str, str]) -> None:
    assert set(PLATFORMS) == published("1.45.0", environ, Deadline(5)).sha256.keys()
    files = releases.files["1.45.0"]
    for text in (
        f"{SUM}  {NAME}\n",
        f"{SUM.upper()} *{NAME}\r\n\r\n",
        f"{SUM}\t{NAME}\n{SUM}  {NAME}",
        f"{'f' * 64}  other\n{SUM}  {NAME}\n",
    ):
        files["astro_1.45.0_checksums.txt"] = text.encode()
        assert Lock("1.45.0", {"linux-amd64": SUM}) == published("1.45.0", environ, Deadline(5))


def test_a_checksum_file_that_is_malformed_is_refused(releases: Releases, environ: dict[str, str]) -> None:
    for text in (
        "\0\0\0\0",
        f"{SUM[1:]}  {NAME}\n",
        f"0{SUM}  {NAME}\n",
        f"{SUM}\n",
        f"{SUM}  \n",
        f"{SUM}{NAME}\n",
        f"{SUM}  {NAME}\n{SUM[1:]}1  {NAME}\n",
        f"{SUM}  {NAME} and more\n",
        f"{SUM}  {NAME}\u00e9\n",
        f" {SUM}  {NAME}\n",
        f"{SUM}  {NAME}\nmore\n",
        f"{SUM[:-1]}g  {NAME}\n",
        f"{SUM}  {'x' * 201}\n",
    ):
        releases.files["1.45.0"]["astro_1.45.0_checksums.txt"] = text.encode()
        error = failure(lambda: published("1.45.0", environ, Deadline(5)))
        assert (IntegrityError, "the checksum file of release 1.45.0 is malformed") == (
            type(error),
            error.message,
        )


# -- answers that do not say where they end -------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\n"


@each_row(
    ("answer", "body"),
    [
        (HEAD + b"Content-Length: 4\r\n\r\ntext", b"text"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nte\r\n2\r\nxt\r\n0\r\n\r\n", b"text"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (HEAD + b"Content-Length: 5\r\n\r\ntext", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nte\r\n", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nte", None),
        (HEAD + b"\r\ntext", None),
        (HEAD + b"Cont", None),
        (HEAD, None),
        (b"", None),
    ],
)
def test_a_body_without_its_end_may_come_whole_later(
    answer: bytes, body: bytes | None, tmp_path: Path
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with Listener(serve) as server:
        url = f"http://127.0.0.1:{server.port}/x"
        if body is not None:
            assert body == read(url, {}, 5)
            assert hashlib.sha256(body).hexdigest() == save(url, tmp_path / "x", {}, 5, lambda *_: None)
            assert body == (tmp_path / "x").read_bytes()
            return
        for call in (lambda: read(url, {}, 5), lambda: save(url, tmp_path / "x", {}, 5, lambda *_: None)):
            assert BackendUnavailableError is type(failure(call))


# -- archives -------------------------------------------------------------------------------------------


def refusal(content: bytes) -> str:
    error = failure(lambda: unpack(io.BytesIO(content), lambda _: None))
    assert IntegrityError is type(error)
    return error.message.removeprefix("the archive of the release is refused: ")


def test_the_program_is_handed_over_whole_and_in_order() -> None:
    program = bytes(range(256)) * 9001
    pieces: list[bytes] = []
    unpack(io.BytesIO(packed(program)), pieces.append)
    assert (program, True) == (b"".join(pieces), len(pieces) > 1)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(form: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=form) as tar:
        for name, content in (("docs/", b""), (f"docs/{'x' * 90}", b"x"), ("./astro", b"program")):
            made = member(name, content, kind=tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE)
            made.mtime, made.uname = 1.5, "builder"
            tar.addfile(made, io.BytesIO(content))
    pieces: list[bytes] = []
    unpack(io.BytesIO(file.getvalue()), pieces.append)
    assert b"program" == b"".join(pieces)


def test_an_archive_that_is_cut_anywhere_is_refused() -> None:
    good = packed(b"program" * 100)
    for length in range(0, len(good) - 8, 7):
        pieces: list[bytes] = []
        try:
            unpack(io.BytesIO(good[:length]), pieces.append)
        except IntegrityError:
            continue
        assert b"program" * 100 == b"".join(pieces)  # what is cut off is padding


def test_what_the_destination_complains_of_is_no_fault_of_the_archive() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        unpack(io.BytesIO(packed(b"program")), full)


GOOD = b"program"
ASTRO = (member("astro", GOOD), GOOD)
README = (member("README.md", b"x"), b"x")
UNSAFE = "the path of a member leads out of it"
SPECIAL = "a member is a link, a device, or another special file"
MUCH = "it unpacks to more than a release contains"
UNREADABLE = "it cannot be read"
NOT_ONE = "astro is not a single file in it"


def named(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"x"), b"x"


def special(kind: bytes, name: str = "x", link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=kind, link=link), b""


BIG = bytes(5 * 1024 * 1024)


@each_row(
    ("content", "complaint"),
    [
        (archive([named("../astro"), ASTRO]), UNSAFE),
        (archive([ASTRO, named("a/../../astro")]), UNSAFE),
        (archive([named("/tmp/astro"), ASTRO]), UNSAFE),
        (archive([ASTRO, named("//astro")]), UNSAFE),
        (archive([ASTRO, named("..")]), UNSAFE),
        (archive([special(tarfile.SYMTYPE, "astro", "/bin/sh")]), SPECIAL),
        (archive([ASTRO, special(tarfile.SYMTYPE, link="/etc/passwd")]), SPECIAL),
        (archive([special(tarfile.LNKTYPE, "astro", "README.md"), README]), SPECIAL),
        (archive([ASTRO, special(tarfile.LNKTYPE, link="astro")]), SPECIAL),
        (archive([ASTRO, special(tarfile.CHRTYPE)]), SPECIAL),
        (archive([ASTRO, special(tarfile.BLKTYPE)]), SPECIAL),
        (archive([special(tarfile.FIFOTYPE, "astro")]), SPECIAL),
        (archive([ASTRO, special(tarfile.CONTTYPE)]), SPECIAL),
        (archive([ASTRO, ASTRO]), NOT_ONE),
        (archive([ASTRO, (member("./astro", GOOD), GOOD)]), NOT_ONE),
        (archive([special(tarfile.DIRTYPE, "astro")]), NOT_ONE),
        (archive([(member("astro"), b"")]), NOT_ONE),
        (archive([README]), "it contains no astro"),
        (archive([named("bin/astro"), named("astro.exe"), named("ASTRO")]), "it contains no astro"),
        (archive([]), "it contains no astro"),
        (archive([ASTRO, (member("README.md", BIG), BIG)]), MUCH),
        (archive([*(named(f"file{number}") for number in range(64)), ASTRO]), MUCH),
        (packed(GOOD)[:60], UNREADABLE),
        (b"\x1f\x8b" + b"\0" * 90, UNREADABLE),
        (b"#!/bin/sh\n", UNREADABLE),
        (b"PK\x03\x04" + b"\0" * 90, UNREADABLE),
        (b"", UNREADABLE),
    ],
    ids=lambda given: None if isinstance(given, str) else "",  # gzip writes the time, and each worker its own
)
def test_an_archive_that_is_no_release_is_refused(content: bytes, complaint: str) -> None:
    assert complaint == refusal(content)


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    """A header of a member as it stands in a tar, with any size."""
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8s1s100s8s", name, b"", b"", b"", size, b"", b" " * 8, kind, b"", b"ustar\x0000"
        )
    )
    block += bytes(512 - len(block))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


PAX = b"11 path=x\n\n" + bytes(501)


@each_row(
    ("content", "complaint"),
    [
        (header(b"astro", b"77777777777\0", tarfile.REGTYPE), MUCH),
        (header(b"README", b"77777777777\0", tarfile.REGTYPE), MUCH),
        (header(b"x", b"77777777777\0", tarfile.XHDTYPE) + bytes(2_000_000), MUCH),
        (header(b"x", b"77777777777\0", tarfile.GNUTYPE_LONGNAME) + bytes(2_000_000), MUCH),
        (header(b"x", b"77777777777\0", tarfile.XGLTYPE) + bytes(2_000_000), MUCH),
        (header(b"astro", b"\xff" * 12, tarfile.REGTYPE), None),  # a negative size
        (header(b"x", b"\xff" * 12, tarfile.XHDTYPE), None),
        ((header(b"x", b"00000000013\0", tarfile.XHDTYPE) + PAX) * 1020, None),
        ((header(b"x", b"00000000000\0", tarfile.GNUTYPE_LONGNAME)) * 2040, None),
        (header(b"astro", b"00000000100\0", tarfile.GNUTYPE_SPARSE) + bytes(512), None),
        (header(b"astro", b"00000000100\0", tarfile.REGTYPE) + b"short", None),
    ],
)
def test_a_header_that_lies_is_refused(content: bytes, complaint: str | None) -> None:
    said = refusal(gzip.compress(content))
    assert said == complaint or (complaint is None and said)


BOMB = """
import gzip, io, resource, sys
from astro_token.astro_cli.archive import unpack
from astro_token.errors import IntegrityError
from tests.astro_cli.test_astro_cli import bomb
file = io.BytesIO(bomb(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
given = 0
def write(block):
    global given
    given += len(block)
try:
    unpack(file, write)
except IntegrityError as error:
    print(error, given >> 20)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, file=sys.stderr)
"""


def bomb(kind: str) -> bytes:
    """Of some 300 KB, which unpacks to 300 MB."""
    size = 300 << 20
    octal = b"%011o\0" % size
    kinds = {"pax": tarfile.XHDTYPE, "name": tarfile.GNUTYPE_LONGNAME, "other": tarfile.REGTYPE}
    packed_bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=packed_bomb, mode="wb", compresslevel=1) as file:
        file.write(header(b"README", octal, kinds[kind]))
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return packed_bomb.getvalue()


@pytest.mark.parametrize("kind", ["pax", "name", "other"])
def test_a_bomb_takes_no_memory(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", BOMB, kind], capture_output=True, text=True, timeout=60)
    assert f"the archive of the release is refused: {MUCH} 0\n" == done.stdout, done.stderr
    assert int(done.stderr) < 20


def test_the_refusals_come_from_the_archive() -> None:
    """The same members without what is wrong with them are taken."""
    unpack(io.BytesIO(archive([(member("README"), b""), (member("astro", b"x"), b"x")])), lambda _: None)
