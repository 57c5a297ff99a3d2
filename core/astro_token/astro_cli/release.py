"""
A release of the Astro CLI: its address, the names of its files, and its checksum file.

    BASE/latest                                             a redirect to BASE/tag/vVERSION
    BASE/download/vVERSION/astro_VERSION_checksums.txt      SHA-256 and name, one line per file
    BASE/download/vVERSION/astro_VERSION_SYSTEM_MACHINE.tar.gz

The latest version comes from that redirect and not from GitHub's API,
which limits an address to 60 requests an hour, and the runners of a CI system share addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.astro_cli.download import read, redirect
from astro_token.astro_cli.request import RELEASES
from astro_token.errors import (
    ConfigError,
    IntegrityError,
    SecretNotFoundError,
    UnsupportedOperationError,
    UsageError,
)
from astro_token.settings.astro_cli_pin import PLATFORMS, VERSION, Lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.transport.deadline import Deadline

__all__ = ["archive_name", "file_url", "latest", "parse_version", "platform_of", "published"]

_PUBLIC = "https://github.com/astronomer/astro-cli/releases"
_TAG = re.compile(rf"/tag/v?({VERSION.pattern})\Z")
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?([!-~]{1,200})")
_MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    **dict.fromkeys(("i386", "i486", "i586", "i686", "x86"), "386"),
}


def parse_version(text: str) -> str:
    """
    Return a version without the tag's `v`.

    Raises:
        UsageError: it is not a version.
    """
    version = text.removeprefix("v")
    if VERSION.fullmatch(version):
        return version
    raise UsageError("--version is not a version of the Astro CLI", hint="give it as in --version 1.45.0")


def platform_of(system: str, machine: str) -> str:
    """
    Return a release's name for a platform, from Python's names for system and machine.

    Raises:
        UnsupportedOperationError: there are no releases for it, or none that we can unpack.
    """
    platform = f"{system}-{_MACHINES.get(machine.lower(), '')}"
    if platform in PLATFORMS:
        return platform
    raise UnsupportedOperationError(
        "no release for this system and machine can be installed",
        hint=f"there are {', '.join(PLATFORMS)}; for others see Astronomer's own documentation",
    )


def archive_name(version: str, platform: str) -> str:
    return f"astro_{version}_{platform.replace('-', '_')}.tar.gz"


def file_url(version: str, name: str, environ: Mapping[str, str]) -> str:
    return f"{_base(environ)}/download/v{version}/{name}"


def latest(environ: Mapping[str, str], deadline: Deadline) -> str:
    """
    Return the version of the latest release.

    Raises:
        IntegrityError: the server does not name it.
        as `download.read`.
    """
    found = deadline.retry(lambda seconds: redirect(f"{_base(environ)}/latest", _TAG, environ, seconds))
    if found is None:
        raise IntegrityError(
            "the release server does not name the latest release",
            hint=f"name a release, as in --version 1.45.0; check {RELEASES} if it is set",
        )
    return found[1]


def published(version: str, environ: Mapping[str, str], deadline: Deadline) -> Lock:
    """
    Fetch the digests of a release.

    Raises:
        SecretNotFoundError: there is no such release.
        IntegrityError: the checksum file is malformed.
        as `download.read`.
    """
    url = file_url(version, f"astro_{version}_checksums.txt", environ)
    try:
        text = deadline.retry(lambda seconds: read(url, environ, seconds))
    except SecretNotFoundError as error:
        missing = SecretNotFoundError(
            f"release {version} of the Astro CLI does not exist, or has no checksum file", hint=error.hint
        )
    else:
        return _parsed(version, text)
    raise missing


def _parsed(version: str, text: bytes) -> Lock:
    digests: dict[str, str] = {}
    lines = [line for line in text.decode("ascii", "replace").splitlines() if line]
    for line in lines:
        found = _LINE.fullmatch(line)
        # A repeated name would make two different files valid.
        if not found or digests.setdefault(found[2], found[1].lower()) != found[1].lower():
            break
    else:
        supported = {platform: digests.get(archive_name(version, platform)) for platform in PLATFORMS}
        return Lock(version, {platform: digest for platform, digest in supported.items() if digest})
    raise IntegrityError(
        f"the checksum file of release {version} is malformed",
        hint=f"check {RELEASES} if it is set, and proxies between here and the release server",
    )


def _base(environ: Mapping[str, str]) -> str:
    base = (environ.get(RELEASES) or _PUBLIC).rstrip("/")
    if "?" in base:
        raise ConfigError(
            f"the address in {RELEASES} is refused", hint="give the address of a folder, without a query"
        )
    return base
