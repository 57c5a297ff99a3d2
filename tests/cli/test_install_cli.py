"""`install-cli`: the right release becomes the user's program, and nothing else ever does."""

from __future__ import annotations

import os
import platform
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, Program, Result
from tests.servers.faults import ConnectProxy, FaultServer, Mode, refused_port
from tests.servers.http1 import Answer
from tests.servers.releases import Releases, archive, member, packed
from tests.servers.releases import program as cli_program
from tests.timing import wait_until, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Background
    from tests.servers.certificates import Certificates

    Write = Callable[[str, str], Path]

VERSION = "1.45.0"
MACHINE = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
HERE = f"{sys.platform}-{MACHINE}"
CHECKSUMS = f"astro_{VERSION}_checksums.txt"
ARCHIVE = f"astro_{VERSION}_{HERE.replace('-', '_')}.tar.gz"
OLD = b"#!/bin/sh\necho old\n"
NOISE = random.Random(1)  # noqa: S311 (what does not pack, the same on every run)
CHECK_VERSION = "check the version, and ASTRO_TOKEN_CLI_RELEASES_URL if it is set"


@pytest.fixture(scope="module")
def published(certificates: Certificates) -> dict[str, dict[str, bytes]]:
    """The files of two releases, which are packed once."""
    with Releases(certificates.server.context()) as server:
        server.publish("1.44.0")
        server.publish(VERSION)
        return server.files


@pytest.fixture
def releases(certificates: Certificates, published: dict[str, dict[str, bytes]]) -> Iterator[Releases]:
    with Releases(certificates.server.context()) as server:
        server.files |= {version: dict(files) for version, files in published.items()}
        server.latest = VERSION
        yield server


@dataclass(frozen=True)
class Place:
    """Where the program goes, and what is left behind."""

    program: Program

    @property
    def bin(self) -> Path:
        return self.program.home / ".local" / "bin"

    @property
    def astro(self) -> Path:
        return self.bin / "astro"

    @property
    def cache(self) -> Path:
        return self.program.home / ".cache" / "astro-token" / "astro-cli"

    def old(self) -> None:
        self.bin.mkdir(parents=True)
        self.astro.write_bytes(OLD)
        self.astro.chmod(0o755)

    def lock(self, text: str) -> None:
        path = self.program.work / "astro-token.toml"
        path.write_text(text)
        path.chmod(0o600)

    def files(self) -> list[str]:
        """All files but the project's, by their names."""
        folders = (self.program.home, self.program.temporary, self.program.work)
        found = {path for folder in folders for path in folder.rglob("*") if not path.is_dir()}
        return sorted(path.name for path in found - {self.program.work / "astro-token.toml"})


@pytest.fixture
def place(program: Program, releases: Releases, certificates: Certificates) -> Place:
    """With its folder on PATH; the releases are those of `releases`."""
    made = Place(program)
    program.environ |= {
        "ASTRO_TOKEN_CLI_RELEASES_URL": releases.url,
        "SSL_CERT_FILE": str(certificates.ca_file),  # with the system's own, each run would take longer
        "PATH": f"{made.bin}:/usr/bin:/bin",
    }
    return made


def failure(code: int, message: str, hint: str) -> Result:
    return Result(code, "", f"astro-token: error: {message}\nastro-token: hint: {hint}\n")


def installed(path: Path, version: str = VERSION) -> Result:
    said = f"astro-token: installed the Astro CLI {version} ({HERE}) as {path}\n"
    return Result(0, f"{path}\n", said)


def nothing_to_do(path: Path, version: str = VERSION) -> Result:
    said = f"astro-token: nothing to do: the Astro CLI {version} ({HERE}) as {path}\n"
    return Result(0, f"{path}\n", said)


def says(astro: Path) -> str:
    return subprocess.run([astro, "version"], capture_output=True, text=True, check=True).stdout


# -- what is installed --------------------------------------------------------------------------------


def test_the_latest_release_is_installed_as_a_program_of_the_user(
    program: Program, place: Place, releases: Releases, certificates: Certificates
) -> None:
    del program.environ["SSL_CERT_FILE"]
    program.environ["ASTRO_TOKEN_CA_BUNDLE"] = str(certificates.ca_file)
    assert installed(place.astro) == program("install-cli")
    assert f"Astro CLI Version: {VERSION}\n" == says(place.astro)
    assert 0o755 == stat.S_IMODE(place.astro.lstat().st_mode)
    assert ["latest", CHECKSUMS, ARCHIVE] == releases.asked()
    assert [f"/{VERSION}/{CHECKSUMS}", f"/{VERSION}/{ARCHIVE}"] == [
        request.path for request in releases.file_requests
    ]
    assert ["astro", ARCHIVE] == place.files()


@pytest.mark.parametrize("option", [["--to", "~/tools/bin"], ["--to=~/tools/bin"]])
def test_a_tilde_that_no_shell_has_replaced_is_the_home(
    program: Program, place: Place, option: list[str]
) -> None:
    target = program.home / "tools" / "bin"
    assert installed(target / "astro") == program(
        "install-cli", *option, env={"PATH": f"{target}:/usr/bin:/bin"}
    )
    assert [] == list(program.work.iterdir())
    code = program("install-cli", "--to", "~nobody-of-this-name/bin")
    assert failure(64, "--to names an unknown home", "give the folder without ~") == code
    assert place.bin.exists() is False


def test_a_path_that_is_no_text_is_printed_as_it_is(program: Program, place: Place) -> None:
    folder = os.fsencode(program.work) + b"/\xff"
    done = subprocess.run(
        [PROGRAM, "install-cli", "--to", folder],
        env=program.environment(),
        cwd=program.work,
        capture_output=True,
    )
    assert (0, folder + b"/astro\n") == (done.returncode, done.stdout)
    assert not place.bin.exists()


@pytest.mark.parametrize("umask", ["000", "077"])
def test_its_mode_is_the_same_under_any_umask(
    place: Place, start: Callable[..., Background], umask: str
) -> None:
    wrapper = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    assert installed(place.astro) == start("install-cli", wrapper=wrapper).finish()
    assert 0o755 == stat.S_IMODE(place.astro.lstat().st_mode)
    assert 0o022 & ~stat.S_IMODE(place.cache.lstat().st_mode) == 0o022
    # Whoever can write to a folder on the way can put another one in the place of the next.
    assert [0, 0] == [0o022 & stat.S_IMODE(path.stat().st_mode) for path in (place.bin, place.bin.parent)]


@pytest.mark.parametrize("version", ["1.44.0", "v1.44.0"])
def test_a_release_can_be_asked_for(program: Program, place: Place, releases: Releases, version: str) -> None:
    assert installed(place.astro, "1.44.0") == program("install-cli", "--version", version)
    assert "Astro CLI Version: 1.44.0\n" == says(place.astro)
    assert "latest" not in releases.asked()


def test_a_pre_release_can_be_asked_for(program: Program, place: Place, releases: Releases) -> None:
    for version in ("1.46.0-rc.1", "1.46.0-nightly.20260522"):
        releases.publish(version)
        assert installed(place.astro, version) == program("install-cli", "--version", version)


def test_another_folder_is_made_where_it_is_not(program: Program, place: Place) -> None:
    target = program.work / "tools" / "bin" / "astro"
    program.environ["PATH"] = f"{target.parent}:/usr/bin:/bin"
    assert installed(target) == program("install-cli", "--to", "tools/bin")
    assert (VERSION in says(target), False) == (True, place.astro.exists())


def test_a_machine_of_another_kind_gets_its_own_archive(
    place: Place, releases: Releases, start: Callable[..., Background]
) -> None:
    if MACHINE != "amd64" or not shutil.which("setarch"):
        pytest.fail("this needs an amd64 Linux with setarch")
    result = start("install-cli", wrapper=["setarch", "i686"]).finish()
    assert (0, True) == (result.code, "(linux-386)" in result.stderr)
    assert "linux_386\n" == subprocess.run([place.astro], capture_output=True, text=True).stdout
    assert ARCHIVE not in releases.asked()


def test_nothing_that_could_be_a_credential_is_sent(
    program: Program, place: Place, releases: Releases, canary: str
) -> None:
    netrc = program.home / ".netrc"
    netrc.write_text(
        f"machine 127.0.0.1 login me password {canary}\nmachine localhost login me password {canary}\n"
    )
    netrc.chmod(0o600)
    names = ("GITHUB_TOKEN", "GH_TOKEN", "ASTRO_API_TOKEN", "VAULT_TOKEN")
    assert installed(place.astro) == program("install-cli", env=dict.fromkeys(names, canary), allowed=[netrc])
    sent = [*releases.requests, *releases.file_requests]
    assert (5, []) == (len(sent), [request for request in sent if request.carries(canary)])
    assert {"host", "user-agent", "accept-encoding"} == {name for request in sent for name in request.headers}


def test_the_old_program_is_exchanged_and_not_written_over(program: Program, place: Place) -> None:
    place.old()
    with place.astro.open("rb") as running:
        assert installed(place.astro) == program("install-cli")
        assert OLD == running.read()
    assert f"Astro CLI Version: {VERSION}\n" == says(place.astro)


def test_a_hard_link_of_the_old_program_stays_what_it_is(program: Program, place: Place) -> None:
    place.old()
    other = place.bin / "other"
    other.hardlink_to(place.astro)
    assert installed(place.astro) == program("install-cli")
    assert OLD == other.read_bytes()


# -- PATH ---------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_on_path_is_told(program: Program, place: Place) -> None:
    result = program("install-cli", env={"PATH": "/usr/bin:/bin"})
    told = (
        f"astro-token: warning: {place.bin} is not on PATH: add it, or run the program by the printed path\n"
    )
    assert Result(0, f"{place.astro}\n", installed(place.astro).stderr + told) == result


def test_another_astro_that_comes_first_is_told(program: Program, place: Place) -> None:
    other = program.folder / "other" / "astro"
    other.parent.mkdir()
    other.write_bytes(OLD)
    other.chmod(0o755)
    result = program("install-cli", env={"PATH": f"{other.parent}:{place.bin}:/usr/bin:/bin"})
    told = f"astro-token: warning: another astro comes first on PATH: {other}\n"
    assert Result(0, f"{place.astro}\n", installed(place.astro).stderr + told) == result


# -- again, and from the cache ------------------------------------------------------------------------


def test_what_is_there_is_not_fetched_again(program: Program, place: Place, releases: Releases) -> None:
    program("install-cli")
    before = place.astro.lstat()
    releases.requests.clear()
    assert nothing_to_do(place.astro) == program("install-cli", "--version", VERSION)
    assert [CHECKSUMS] == releases.asked()
    after = place.astro.lstat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("damage", ["content", "mode", "gone"])
def test_what_is_there_and_is_not_right_is_installed_from_the_cache(
    program: Program, place: Place, releases: Releases, damage: str
) -> None:
    program("install-cli")
    if damage == "content":
        place.astro.write_bytes(place.astro.read_bytes() + b"echo evil\n")
    elif damage == "mode":
        place.astro.chmod(0o666)
    else:
        place.astro.unlink()
    releases.requests.clear()
    assert installed(place.astro) == program("install-cli")
    assert (["latest", CHECKSUMS], 0o755) == (releases.asked(), stat.S_IMODE(place.astro.lstat().st_mode))
    assert cli_program(VERSION, HERE.replace("-", "_")) == place.astro.read_bytes()


def test_a_program_that_somebody_else_owns_is_not_believed(
    program: Program, place: Place, releases: Releases
) -> None:
    """Who could write something else into it after we have looked; only root can give a file away."""
    program("install-cli")
    releases.requests.clear()
    if os.geteuid() == 0:
        os.chown(place.astro, 12345, -1)
        assert installed(place.astro) == program("install-cli")
    assert nothing_to_do(place.astro) == program("install-cli")
    assert os.geteuid() == place.astro.stat().st_uid


def test_the_archives_that_were_used_last_are_kept(
    program: Program, place: Place, releases: Releases
) -> None:
    versions = [f"1.4{minor}.0" for minor in range(6)]
    for version in versions:
        releases.publish(version)
    other = place.cache / "astro_notes.txt"
    for version in [*versions[:4], versions[1], versions[4], versions[1], versions[5]]:
        assert program("install-cli", "--version", version).code == 0
        other.touch()
    kept = {path.name.split("_")[1] for path in place.cache.glob("astro_*.tar.gz")}
    assert {versions[1], versions[4], versions[5]} == kept
    assert other.exists()
    releases.requests.clear()
    program("install-cli", "--version", versions[1])
    assert [f"astro_{versions[1]}_checksums.txt"] == releases.asked()


@pytest.mark.parametrize("kind", ["tampered", "cut", "empty", "fifo", "link", "writable"])
def test_what_is_in_the_cache_is_verified_again(
    program: Program, place: Place, releases: Releases, kind: str
) -> None:
    program("install-cli")
    cached = place.cache / ARCHIVE
    content = cached.read_bytes()
    elsewhere = program.folder / "elsewhere"
    elsewhere.write_bytes(packed(b"#!/bin/sh\necho evil\n"))
    if kind in {"fifo", "link"}:
        cached.unlink()
        os.mkfifo(cached) if kind == "fifo" else cached.symlink_to(elsewhere)
    elif kind == "writable":
        cached.chmod(0o666)
    else:
        cached.write_bytes({"tampered": elsewhere.read_bytes(), "cut": content[:-9], "empty": b""}[kind])
    releases.requests.clear()
    assert nothing_to_do(place.astro) == program("install-cli")
    assert ["latest", CHECKSUMS, ARCHIVE] == releases.asked()
    assert (content, False, 0o600) == (
        cached.read_bytes(),
        cached.is_symlink(),
        stat.S_IMODE(cached.stat().st_mode),
    )
    assert packed(b"#!/bin/sh\necho evil\n")[:2] == elsewhere.read_bytes()[:2]


def test_without_a_home_that_can_be_written_there_is_no_cache(
    program: Program, place: Place, releases: Releases
) -> None:
    target = program.work / "bin" / "astro"
    env = {"HOME": "/proc/nowhere", "PATH": f"{target.parent}:/usr/bin:/bin"}
    for _ in range(2):
        target.unlink(missing_ok=True)
        assert installed(target) == program("install-cli", "--to", "bin", env=env)
    assert (2, ["astro"]) == (releases.asked().count(ARCHIVE), place.files())
    assert 77 == program("install-cli", env=env | {"PATH": "/usr/bin:/bin"}).code


def test_two_at_a_time_fetch_once(place: Place, releases: Releases, start: Callable[..., Background]) -> None:
    both = [start("install-cli") for _ in range(2)]
    results = sorted((running.finish() for running in both), key=lambda result: result.stderr)
    assert [installed(place.astro), nothing_to_do(place.astro)] == results
    assert (1, ["astro", ARCHIVE]) == (releases.asked().count(ARCHIVE), place.files())


# -- the lock -----------------------------------------------------------------------------------------


def locked(releases: Releases, version: str = VERSION, **other: str) -> str:
    lines = releases.files[version][f"astro_{version}_checksums.txt"].decode().split("\n")
    sums = dict(line.split("  ")[::-1] for line in lines if line.endswith(".tar.gz"))
    names = {
        name.removeprefix(f"astro_{version}_").removesuffix(".tar.gz"): digest
        for name, digest in sums.items()
    }
    digests = {name.replace("_", "-"): digest for name, digest in names.items()} | other
    pinned = ", ".join(f'{name} = "{digest}"' for name, digest in digests.items())
    return f'[astro-cli]\nversion = "{version}"\nsha256 = {{ {pinned} }}\n'


def test_a_lock_says_which_release(program: Program, place: Place, releases: Releases) -> None:
    place.lock(locked(releases, "1.44.0"))
    assert installed(place.astro, "1.44.0") == program("install-cli")
    assert ["astro_1.44.0_checksums.txt", ARCHIVE.replace(VERSION, "1.44.0")] == releases.asked()
    for call in (["--version", "1.44.0"], ["--version", "v1.44.0"], []):
        releases.requests.clear()
        assert nothing_to_do(place.astro, "1.44.0") == program("install-cli", *call)
        assert [] == releases.asked()
    place.astro.unlink()
    releases.close()  # and no network at all
    assert installed(place.astro, "1.44.0") == program("install-cli")


def test_a_lock_without_digests_says_which_release_too(program: Program, place: Place) -> None:
    place.lock('[astro-cli]\nversion = "1.44.0"\n')
    assert installed(place.astro, "1.44.0") == program("install-cli")


def test_policy_can_require_digests(program: Program, place: Place, releases: Releases) -> None:
    floor = {"ASTRO_TOKEN_POLICY_CLI_LOCK": "true"}
    hint = "add the table that astro-token install-cli --lock prints to astro-token.toml"
    for text in (None, f'[astro-cli]\nversion = "{VERSION}"\n'):
        if text:
            place.lock(text)
        result = program("install-cli", env=floor)
        assert (78, "", True) == (result.code, result.stdout, f"hint: {hint}\n" in result.stderr)
        assert not place.astro.exists()
    place.lock(locked(releases))
    assert 0 == program("install-cli", env=floor).code


def test_another_release_than_the_lock_s_is_refused(
    program: Program, place: Place, releases: Releases
) -> None:
    place.lock(locked(releases, "1.44.0"))
    message = f"--version {VERSION} contradicts {program.work}/astro-token.toml, which pins 1.44.0"
    hint = f"leave --version out, or change the pin: install-cli --version {VERSION} --lock prints it"
    assert failure(64, message, hint) == program("install-cli", "--version", VERSION)
    assert ([], []) == (releases.asked(), place.files())


def test_a_release_that_was_changed_after_it_was_locked_is_refused_unseen(
    program: Program, place: Place, releases: Releases
) -> None:
    place.old()
    place.lock(locked(releases))
    releases.publish(VERSION, content=b"#!/bin/sh\necho evil\n")  # its checksum file agrees
    message = f"the pinned digest and the checksum file of release {VERSION} differ for {HERE}"
    hint = "find out if the release or astro-token.toml was changed; nothing was installed"
    assert failure(76, message, hint) == program("install-cli")
    assert ([CHECKSUMS], ["astro"], OLD) == (releases.asked(), place.files(), place.astro.read_bytes())


def test_a_lock_does_not_make_up_for_a_wrong_archive(
    program: Program, place: Place, releases: Releases
) -> None:
    place.lock(locked(releases))
    releases.files[VERSION][ARCHIVE] = packed(b"#!/bin/sh\necho evil\n")
    assert 76 == program("install-cli").code
    assert [] == place.files()


def test_a_lock_that_does_not_know_this_machine_is_no_lock(
    program: Program, place: Place, releases: Releases
) -> None:
    place.lock(f'[astro-cli]\nversion = "{VERSION}"\nsha256 = {{ linux-386 = "{"0" * 64}" }}\n')
    hint = f"astro-token install-cli --version {VERSION} --lock prints it for all platforms"
    assert failure(78, f"[astro-cli] pins no digest for {HERE}", hint) == program("install-cli")
    assert [] == releases.asked()


def test_the_lock_is_printed_and_means_what_it_says(
    program: Program, place: Place, releases: Releases, write: Write
) -> None:
    result = program("install-cli", "--lock", "--version", "1.44.0")
    assert (0, "astro-token: add this to astro-token.toml to pin release 1.44.0\n") == (
        result.code,
        result.stderr,
    )
    assert tomllib.loads(locked(releases, "1.44.0")) == tomllib.loads(result.stdout)
    assert (["astro_1.44.0_checksums.txt"], []) == (releases.asked(), place.files())
    place.lock(result.stdout)
    assert installed(place.astro, "1.44.0") == program("install-cli")
    # A newer one is printed with the old one in place; the file is not ours to change.
    newer = program("install-cli", "--lock")
    assert tomllib.loads(locked(releases)) == tomllib.loads(newer.stdout)
    assert result.stdout == (program.work / "astro-token.toml").read_text()


def test_the_lock_for_pyproject_is_printed_as_its_table(program: Program, place: Place, write: Write) -> None:
    path = write("pyproject.toml", "[tool.astro-token]\n")
    result = program("install-cli", "--lock")
    path.write_text(result.stdout)
    assert installed(place.astro) == program("install-cli")
    assert result.stdout.startswith("[tool.astro-token.astro-cli]\n")


def test_the_project_s_file_names_no_place_to_fetch_from(
    program: Program, place: Place, releases: Releases
) -> None:
    for text in ("releases = 'https://evil.example'", "url = 'https://evil.example'", "to = '/usr/bin'"):
        place.lock(f'[astro-cli]\nversion = "{VERSION}"\n{text}\n')
        result = program("install-cli")
        assert (78, True) == (result.code, "come from the environment only" in result.stderr)
        assert "evil.example" not in result.stderr
    assert [] == releases.asked()


# -- calls that make no sense ---------------------------------------------------------------------------

NO_VERSION = "--version is not a version of the Astro CLI"
NO_VERSIONS = ("", "latest", "1.45", "../x", "1.45.0\n")
NO_TIME = "the timeout is not between 0 and 3600 seconds"
AS_IN = "give it as in --version 1.48.0"
HELP = "run astro-token install-cli --help for the options and examples"


@pytest.mark.parametrize(
    ("call", "code", "message", "hint"),
    [
        *((["--version", version], 64, NO_VERSION, AS_IN) for version in NO_VERSIONS),
        (["--to", ""], 64, "--to names no folder", "give the path of a folder, or leave --to out"),
        (["--timeout", "0"], 64, NO_TIME, "give 1 to 3600"),
        (["--timeout", "nan"], 64, NO_TIME, "give 1 to 3600"),
        (["--lock", "--to", "x"], 64, "argument --to: not allowed with argument --lock", HELP),
        (["1.45.0"], 64, "too many or unknown arguments", HELP),
    ],
)
def test_a_call_that_makes_no_sense(
    program: Program, place: Place, releases: Releases, call: list[str], code: int, message: str, hint: str
) -> None:
    assert failure(code, message, hint) == program("install-cli", *call)
    assert ([], []) == (releases.asked(), place.files())


@pytest.mark.parametrize(
    "url",
    ["http://releases.example", "ftp://127.0.0.1/", "https://me:secret@127.0.0.1/x", "releases", "https://"],
)
def test_an_address_that_is_refused(program: Program, place: Place, url: str) -> None:
    problem = "not https" if url == "http://releases.example" else "not valid"
    message = f"the address in ASTRO_TOKEN_CLI_RELEASES_URL is {problem}"
    hint = "use https://HOST[:PORT] without a user; plain http is accepted for loopback addresses only"
    environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": url}
    assert failure(78, message, hint) == program("install-cli", env=environ)
    environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": "https://127.0.0.1/x?token=secret"}
    message = "the address in ASTRO_TOKEN_CLI_RELEASES_URL has a query"
    hint = "use the address of a folder"
    assert failure(78, message, hint) == program("install-cli", env=environ)


def test_a_release_that_there_is_not(program: Program, place: Place, releases: Releases) -> None:
    place.old()
    message = "release 9.9.9 of the Astro CLI does not exist, or has no checksum file"
    for more in ([], ["--lock"]):
        assert failure(66, message, CHECK_VERSION) == program("install-cli", "--version", "9.9.9", *more)
    releases.latest = None
    message = "the release server does not have this release, or this file of it"
    assert failure(66, message, CHECK_VERSION) == program("install-cli")
    assert (["astro"], OLD) == (place.files(), place.astro.read_bytes())


# -- what is tampered with ------------------------------------------------------------------------------


def refused(program: Program, place: Place, *, message: str | None = None, timeout: str = "20") -> Result:
    """A run that ends with 76, and leaves the old program and nothing else."""
    result = program("install-cli", "--version", VERSION, "--timeout", timeout)
    assert (76, "", 2) == (result.code, result.stdout, len(result.stderr.splitlines())), result.stderr
    assert message is None or f"astro-token: error: {message}" == result.stderr.splitlines()[0]
    assert (["astro"], OLD) == (place.files(), place.astro.read_bytes())
    return result


def test_an_archive_with_another_digest_is_refused(
    program: Program, place: Place, releases: Releases
) -> None:
    place.old()
    good = releases.files[VERSION][ARCHIVE]
    message = f"{ARCHIVE} does not have the digest that is pinned or in the checksum file of its release"
    other = releases.files[VERSION][ARCHIVE.replace(MACHINE, "386")]
    for wrong in (packed(b"#!/bin/sh\necho evil\n"), good[:-1], good + b"\0", b"", b"<html></html>", other):
        releases.files[VERSION][ARCHIVE] = wrong
        refused(program, place, message=message)
    releases.files[VERSION][ARCHIVE] = good
    assert installed(place.astro) == program("install-cli")


SUM = "0" * 64
MALFORMED = f"the checksum file of release {VERSION} is malformed"
INCOMPLETE = f"the checksum file of release {VERSION} does not name an archive for {HERE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!doctype html><html><form action=/login>Welcome to the hotel</form></html>", MALFORMED),
        (f"{SUM}  {ARCHIVE}\n{SUM[1:]}1  {ARCHIVE}\n", MALFORMED),
        (f"{SUM}  astro.exe\n", INCOMPLETE),
        ("", INCOMPLETE),
    ],
    ids=["html", "twice", "another", "empty"],
)
def test_a_checksum_file_that_says_nothing_certain_is_refused(
    program: Program, place: Place, releases: Releases, text: str, message: str
) -> None:
    place.old()
    releases.files[VERSION][CHECKSUMS] = text.encode()
    refused(program, place, message=message)
    assert ARCHIVE not in releases.asked()
    assert 76 == program("install-cli", "--lock").code


def test_a_checksum_file_without_an_end_is_refused(
    program: Program, place: Place, releases: Releases
) -> None:
    place.old()
    releases.files[VERSION][CHECKSUMS] += b"\n" * 70_000
    server = "the server that the release server redirects to"
    refused(program, place, message=f"the response is damaged, or does not come from {server}")


def test_digests_in_capitals_and_marks_of_binary_files_are_understood(
    program: Program, place: Place, releases: Releases
) -> None:
    text = releases.files[VERSION][CHECKSUMS].decode()
    lines = [line.split("  ") for line in text.splitlines()]
    releases.files[VERSION][CHECKSUMS] = "".join(
        f"{sum_.upper()} *{name}\r\n" for sum_, name in lines
    ).encode()
    assert installed(place.astro) == program("install-cli")


UNSAFE = archive([(member("astro", OLD), OLD), (member("../astro", OLD), OLD)])
LINK = archive([(member("astro", kind=tarfile.SYMTYPE, link="/bin/sh"), b"")])
BOMB = archive([(member("astro", OLD), OLD), (member("README.md", bytes(5_000_000)), bytes(5_000_000))])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (UNSAFE, "the path of a member leads out of it"),
        (LINK, "a member is a link, a device, or another special file"),
        (BOMB, "it unpacks to more than a release contains"),
        (archive([]), "it contains no astro"),
        (b"#!/bin/sh\n", "it cannot be read"),
    ],
    ids=["unsafe", "link", "bomb", "empty", "script"],
)
def test_an_archive_that_is_no_release_is_refused_though_its_digest_is_right(
    program: Program, place: Place, releases: Releases, content: bytes, complaint: str
) -> None:
    place.old()
    releases.files[VERSION][ARCHIVE] = content
    releases.sum_up(VERSION)
    result = program("install-cli")
    hint = "nothing was installed; tell Astronomer, because the digest is the release's own"
    assert failure(76, f"the archive of the release is refused: {complaint}", hint) == result
    assert OLD == place.astro.read_bytes()
    assert ["astro", ARCHIVE] == place.files()  # what has the right digest is kept


# -- where it goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["link", "dangling", "folder", "fifo", "no-folder", "below-file", "everybody"]
)
def test_a_place_that_is_none_is_refused_before_anything_is_asked(
    program: Program, place: Place, releases: Releases, kind: str
) -> None:
    folder, other = program.work / "bin", program.work / "other"
    target = folder / "astro"
    folder.mkdir()
    other.write_bytes(OLD)
    no_link = f"{target} is a link", "name the file itself: the target of a link can change"
    no_file = f"{target} is not a regular file", "name a regular file"
    no_folder = f"{folder} is not a folder", "name a folder with --to"
    message, hint = {
        "link": no_link,
        "dangling": no_link,
        "folder": no_file,
        "fifo": no_file,
        "no-folder": no_folder,
        "below-file": (f"{folder}/bin is not a folder", "name a folder with --to"),
        "everybody": (
            f"every user of this machine can write to {folder}, and replace the program",
            f"chmod o-w {folder}, or name another folder with --to",
        ),
    }[kind]
    if kind in {"link", "dangling"}:
        target.symlink_to(other if kind == "link" else program.work / "nothing")
    elif kind == "folder":
        target.mkdir()
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind in {"no-folder", "below-file"}:
        folder.rmdir()
        folder.touch()
    else:
        folder.chmod(0o777)
    before = place.files()
    to = "bin/bin" if kind == "below-file" else "bin"
    assert failure(73, message, hint) == program("install-cli", "--to", to)
    assert ([], before, OLD) == (releases.asked(), place.files(), other.read_bytes())


def test_a_folder_that_is_a_link_is_a_folder(program: Program, place: Place) -> None:
    """As ~/.local/bin is where the files of a home are kept in a repository."""
    (program.work / "real").mkdir()
    place.bin.parent.mkdir()
    place.bin.symlink_to(program.work / "real")
    assert installed(place.astro) == program("install-cli")
    assert VERSION in says(program.work / "real" / "astro")


def test_a_folder_of_the_kernel_takes_no_program(program: Program, place: Place) -> None:
    """Which not even root can write to."""
    hint = "name another folder with --to, or change its permissions"
    assert failure(77, "/proc/nowhere cannot be written to", hint) == program(
        "install-cli", "--to", "/proc/nowhere"
    )
    assert [ARCHIVE] == place.files()


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from astro_token.astro_cli.install import install
from astro_token.errors import AstroTokenError
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    install("1.45.0", "linux-amd64", Path(sys.argv[1]), lock=None, environ={}, seconds=1, progress=print)
except AstroTokenError as error:
    print(error.exit_code, error)
"""


def test_a_folder_that_is_read_only_is_told_before_anything_is_asked() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, folder], capture_output=True, text=True, cwd="/", timeout=60
        )
    assert (f"77 {folder} cannot be written to\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize("where", ["cache", "program"])
def test_a_full_disk_leaves_the_old_program_and_nothing_else(
    place: Place, releases: Releases, start: Callable[..., Background], where: str
) -> None:
    place.old()
    # Zeros fit into a small archive, and unpack to what has no place; noise has none before that.
    content = bytes(3_000_000) if where == "program" else NOISE.randbytes(3_000_000)
    releases.publish(VERSION, content=content)
    result = start("install-cli", wrapper=["sh", "-c", 'ulimit -f 1024; exec "$@"', "sh"]).finish()
    lines = result.stderr.splitlines()
    assert (74, "", 2) == (result.code, result.stdout, len(lines))
    full = place.cache if where == "cache" else place.astro
    assert f"astro-token: error: {full}: file too large" == lines[0]
    assert (["astro"] if where == "cache" else ["astro", ARCHIVE], OLD) == (
        place.files(),
        place.astro.read_bytes(),
    )


# -- faults of the network ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    code: int
    mode: Mode = 200
    redirect: str | None = None
    certificate: str = "server"
    requests: int | None = 1


FIRST = {
    "no content": Fault(76, 204),
    "no such file": Fault(66, 404),
    "gone": Fault(66, 410),
    "wants a login": Fault(77, 401),
    "forbidden": Fault(77, 403),
    "bad request": Fault(76, 400),
    "teapot": Fault(76, 418),
    "busy": Fault(75, 429, requests=None),
    "failing": Fault(75, 500, requests=None),
    "unavailable": Fault(75, 503, requests=None),
    "a redirect to nowhere": Fault(76, 302),
    "a redirect to http": Fault(76, 302, redirect="http://releases.example/x"),
    "a redirect to http here": Fault(76, 302, redirect="http://127.0.0.1:1/x"),
    "a redirect to a file": Fault(76, 302, redirect="file:///etc/passwd"),
    "a redirect with a user": Fault(76, 302, redirect="https://me:secret@127.0.0.1/x"),
    "a redirect with a bracket": Fault(76, 302, redirect="https://[x/"),
    "redirects without an end": Fault(76, 307, redirect="/again", requests=4),
    "reset": Fault(75, "reset", requests=None),
    "reset in the head": Fault(75, "reset-head", requests=None),
    "reset in the body": Fault(75, "reset-body", requests=None),
    "ended early": Fault(75, "short-body", requests=None),
    "ended early in order": Fault(75, "short-body-ended", requests=None),
    "empty": Fault(76, "empty"),
    "html": Fault(76, "html"),
    "huge": Fault(76, "huge"),
    "gzip bomb": Fault(76, "gzip-bomb"),
    "silence": Fault(75, "hang", requests=None),
    "drips": Fault(75, "drip-body", requests=None),
    "no TLS": Fault(76, "handshake-plain", requests=0),
    "expired": Fault(76, certificate="expired", requests=0),
    "not trusted": Fault(76, certificate="unknown_ca", requests=0),
    "of another host": Fault(76, certificate="wrong_host", requests=0),
}


def refused_in_time(program: Program, url: str, code: int) -> Result:
    """The two lines that are printed where a server of releases fails, soon or after its second."""
    # What ends by itself gets more time than a busy machine takes.
    seconds = 1 if code == 75 else 20
    arguments = ("install-cli", "--version", VERSION, "--timeout", str(seconds))
    with within(1):
        result = program(*arguments, env={"ASTRO_TOKEN_CLI_RELEASES_URL": url})
    assert (code, "", 2) == (result.code, result.stdout, len(result.stderr.splitlines())), result.stderr
    return result


@pytest.mark.parametrize("name", FIRST)
def test_a_fault_of_the_release_server_has_its_code(
    program: Program, place: Place, certificates: Certificates, name: str
) -> None:
    place.old()
    fault = FIRST[name]
    with FaultServer(
        fault.mode,
        b"{}" * 2000,
        tls=getattr(certificates, fault.certificate).context(),
        redirect=fault.redirect,
        size=20_000_000,
    ) as server:
        result = refused_in_time(program, server.url, fault.code)
    assert fault.requests is None or fault.requests == server.count
    assert (["astro"], OLD) == (place.files(), place.astro.read_bytes())
    assert not any(text in result.stderr for text in ("example", "secret", "passwd"))


@pytest.mark.parametrize(
    ("url", "code"),
    [(f"https://127.0.0.1:{refused_port()}/x", 75), ("https://nowhere.invalid/x", 69)],
    ids=["refused", "unknown host"],  # the same in every worker
)
def test_a_server_that_there_is_not(program: Program, place: Place, url: str, code: int) -> None:
    environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": url}
    seconds = "1" if code == 75 else "20"
    assert code == program("install-cli", "--timeout", seconds, env=environ).code


@pytest.mark.parametrize("option", [(), ("--lock",)])
def test_a_server_that_is_down_is_not_tried_until_the_long_time_limit(
    program: Program, place: Place, option: tuple[str, ...]
) -> None:
    with FaultServer(503, headers={"Retry-After": "0"}) as server:
        environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": server.url}
        assert 75 == program("install-cli", *option, "--version", VERSION, env=environ).code
        assert 6 == server.count


SECOND = {
    "no such file": Fault(66, 404),
    "a signature that expired": Fault(77, 403),
    "busy": Fault(75, 503, requests=None),
    "a redirect to http": Fault(76, 302, redirect="http://releases.example/x"),
    "redirects without an end": Fault(76, 302, redirect="/again", requests=3),
    "reset in the body": Fault(75, "reset-body", requests=None),
    "ended early": Fault(75, "short-body", requests=None),
    "ended early in order": Fault(75, "short-body-ended", requests=None),
    "html": Fault(76, Answer(200, b"<html></html>", content_type="text/html")),
    "larger than any": Fault(76, "huge"),
    "silence": Fault(75, "hang", requests=None),
    "drips": Fault(75, "drip-body", requests=None),
    "not trusted": Fault(76, certificate="unknown_ca", requests=0),
}


@pytest.mark.parametrize("name", SECOND)
def test_a_fault_in_the_middle_has_its_code_and_leaves_nothing(
    program: Program, place: Place, releases: Releases, certificates: Certificates, name: str
) -> None:
    """On the other host, when the checksum file is there: with a lock nothing else comes from it."""
    place.old()
    fault = SECOND[name]
    checksums = Answer(200, releases.files[VERSION][CHECKSUMS], content_type="text/plain")
    with (
        FaultServer(
            fault.mode,
            releases.files[VERSION][ARCHIVE],
            tls=getattr(certificates, fault.certificate).context(),
            redirect=fault.redirect,
            size=400 * 1024 * 1024,
        ) as files,
        FaultServer(
            lambda number: checksums if number == 1 else 302,
            redirect=f"https://localhost:{files.port}/{ARCHIVE}",
            tls=certificates.server.context(),
        ) as front,
    ):
        refused_in_time(program, front.url, fault.code)
    assert fault.requests is None or fault.requests == files.count
    assert files.sent < 64 * 1024 * 1024
    assert (["astro"], OLD) == (place.files(), place.astro.read_bytes())


def test_what_passes_is_tried_again(
    program: Program, place: Place, releases: Releases, certificates: Certificates
) -> None:
    content = releases.files[VERSION][ARCHIVE]
    modes: list[Mode] = ["reset-body", 503, "short-body-ended", Answer(200, content)]
    with FaultServer(
        lambda number: modes[number - 1],
        content,
        headers={"Retry-After": "0"},
        tls=certificates.server.context(),
    ) as files:
        checksums = Answer(200, releases.files[VERSION][CHECKSUMS])
        with FaultServer(
            lambda number: 503 if number == 1 else checksums if number == 2 else 302,
            headers={"Retry-After": "0"},
            redirect=f"https://localhost:{files.port}/{ARCHIVE}",
            tls=certificates.server.context(),
        ) as front:
            environ = {"ASTRO_TOKEN_CLI_RELEASES_URL": front.url}
            assert installed(place.astro) == program("install-cli", "--version", VERSION, env=environ)
    assert (6, 4) == (front.count, files.count)


def test_the_proxy_is_used_for_both_hosts_unless_no_proxy_says_otherwise(
    program: Program, place: Place, releases: Releases
) -> None:
    port = int(releases.url.split(":")[2].partition("/")[0])
    name = "releases.vault.azure.net"  # for which the certificate is good
    path = releases.url.partition(f":{port}")[2]
    with ConnectProxy(routes={name: port}) as proxy:
        environ = {
            "ASTRO_TOKEN_CLI_RELEASES_URL": f"https://{name}{path}",
            "HTTPS_PROXY": proxy.url,
        }
        # The other host is this machine, for which no proxy is asked.
        assert installed(place.astro) == program("install-cli", env=environ)
        assert {f"{name}:443"} == set(proxy.targets)
        before = len(proxy.targets)
        assert 69 == program("install-cli", "--timeout", "20", env=environ | {"NO_PROXY": name}).code
        assert before == len(proxy.targets)
    with ConnectProxy(status=407) as proxy:
        result = program("install-cli", env=environ | {"HTTPS_PROXY": proxy.url})
        assert (78, True) == (result.code, "the proxy requires a user and a password" in result.stderr)


# -- interrupted ----------------------------------------------------------------------------------------


@pytest.fixture
def dripping(certificates: Certificates, releases: Releases) -> Iterator[dict[str, str]]:
    """Leads to a server whose archive does not come to an end."""
    checksums = Answer(200, releases.files[VERSION][CHECKSUMS])
    with FaultServer(
        lambda number: checksums if number == 1 else "drip-body", drip=0.02, tls=certificates.server.context()
    ) as server:
        yield {"ASTRO_TOKEN_CLI_RELEASES_URL": server.url}


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".*.tmp") if path.stat().st_size] if folder.is_dir() else []


def test_a_kill_while_it_is_fetched_leaves_the_old_program(
    program: Program, place: Place, start: Callable[..., Background], dripping: dict[str, str]
) -> None:
    place.old()
    running = start("install-cli", "--version", VERSION, env=dripping)
    wait_until(lambda: parts(place.cache))
    running.send(signal.SIGKILL)
    assert -signal.SIGKILL == running.finish().code
    assert (OLD, 2) == (place.astro.read_bytes(), len(place.files()))
    assert installed(place.astro) == program("install-cli")
    assert ["astro", ARCHIVE] == place.files()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_it_is_fetched_leaves_nothing(
    place: Place, start: Callable[..., Background], dripping: dict[str, str], number: signal.Signals
) -> None:
    place.old()
    running = start("install-cli", "--version", VERSION, env=dripping)
    wait_until(lambda: parts(place.cache))
    running.send(number)
    assert Result(128 + number, "", "") == running.finish()
    assert (["astro"], OLD) == (place.files(), place.astro.read_bytes())


def test_a_kill_while_it_is_written_leaves_the_old_program_or_the_new_one(
    program: Program, place: Place, releases: Releases, start: Callable[..., Background]
) -> None:
    content = NOISE.randbytes(4_000_000) * 5
    releases.files[VERSION] = {ARCHIVE: packed(content)}
    releases.sum_up(VERSION)
    place.old()
    caught = tried = 0
    while caught < 2:
        tried += 1
        assert tried <= 30
        place.astro.write_bytes(OLD)
        running = start("install-cli")
        wait_until(lambda: parts(place.bin) or place.astro.stat().st_size != len(OLD))
        running.send(signal.SIGKILL)
        running.process.wait(60)  # and no search for canaries in all that noise
        caught += bool(parts(place.bin))
        assert place.astro.read_bytes() in {OLD, content}
    assert 0 == start("install-cli").process.wait(60)
    assert (content, ["astro", ARCHIVE]) == (place.astro.read_bytes(), place.files())


# -- a person at a terminal -----------------------------------------------------------------------------


def test_a_terminal_sees_how_far_it_is(program: Program, place: Place, dripping: dict[str, str]) -> None:
    with Terminal(
        [str(PROGRAM), "install-cli", "--version", VERSION],
        env=program.environment(dripping),
        cwd=program.work,
    ) as terminal:
        terminal.wait_for("downloading the Astro CLI")
        terminal.wait_for("/100.0 kB")
        terminal.process.send_signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == terminal.finish()
    assert [] == place.files()
