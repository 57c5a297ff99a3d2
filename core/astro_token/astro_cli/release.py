"""
A release of the Astro CLI: its address, the names of its files, and its checksum file.

    BASE/latest                                             a redirect to BASE/tag/vVERSION
    BASE/download/vVERSION/astro_VERSION_checksums.txt      SHA-256 and name, one line per file
    BASE/download/vVERSION/astro_VERSION_SYSTEM_MACHINE.tar.gz

The latest release is read from that redirect and not from GitHub's API,
which allows 60 requests an hour to all machines that share an address, such as the runners of a CI system.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astro_token.astro_cli.download import CHECK_ROUTE, RELEASES, read, redirect
from astro_token.errors import (
    ConfigError,
    IntegrityError,
    SecretNotFoundError,
    UnsupportedOperationError,
    UsageError,
)
from astro_token.settings.astro_cli_pin import PLATFORMS, VERSION, Lock
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.transport.deadline import Deadline

__all__ = ["ATTEMPTS", "archive_name", "file_url", "latest", "parse_version", "platform_of", "published"]

ATTEMPTS = 6  # the time limit is for a slow transfer, and too long for a server that is down
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
    Parse a version with or without the tag's `v`.

    Raises:
        UsageError: it is not a version.
    """
    version = text.removeprefix("v")
    if VERSION.fullmatch(version):
        return version
    raise UsageError("--version is not a version of the Astro CLI", hint="give it as in --version 1.48.0")


def platform_of(system: str, machine: str) -> str:
    """
    Name a platform as releases do, from Python's names of the system and the machine.

    Raises:
        UnsupportedOperationError: it has no release, or none that we can unpack.
    """
    platform = f"{system}-{_MACHINES.get(machine.lower(), '')}"
    if platform in PLATFORMS:
        return platform
    raise UnsupportedOperationError(
        "the Astro CLI has no release for this system and machine that can be installed here",
        hint=f"use {', '.join(PLATFORMS)}; for others see Astronomer's documentation",
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
    match = deadline.retry(lambda seconds: redirect(f"{_base(environ)}/latest", _TAG, environ, seconds))
    if match is None:
        raise IntegrityError(
            "the release server does not name the latest release",
            hint=f"name a release, for example --version 1.48.0; check {RELEASES} if it is set",
        )
    return match[1]


def published(version: str, environ: Mapping[str, str], deadline: Deadline) -> Lock:
    """
    Read the checksum file of a release.

    Raises:
        SecretNotFoundError: the release does not exist.
        IntegrityError: it is malformed.
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
        match = _LINE.fullmatch(line)
        # A name with two digests would accept two different files.
        if not match or digests.setdefault(match[2], match[1].lower()) != match[1].lower():
            break
    else:
        ours = {platform: digests.get(archive_name(version, platform)) for platform in PLATFORMS}
        return Lock(version, {platform: digest for platform, digest in ours.items() if digest})
    raise IntegrityError(f"the checksum file of release {version} is malformed", hint=CHECK_ROUTE)


def _base(environ: Mapping[str, str]) -> str:
    base = (setting(environ, RELEASES) or _PUBLIC).rstrip("/")
    if "?" in base:
        raise ConfigError(f"the address in {RELEASES} has a query", hint="use the address of a folder")
    return base
