"""The lock: the release of the Astro CLI that a project uses, and the digests of its archives."""

from __future__ import annotations

import re
from types import MappingProxyType

from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.policy.rules import Policy

__all__ = ["DIGEST", "PLATFORMS", "VERSION", "Lock", "findings", "table"]

# By Go's names for systems and machines, as in the names of the archives.
PLATFORMS = ("darwin-amd64", "darwin-arm64", "linux-386", "linux-amd64", "linux-arm64")
VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){2}(?:-[0-9A-Za-z]{1,20}(?:[.-][0-9A-Za-z]{1,20}){0,4})?")
DIGEST = re.compile(r"[0-9a-f]{64}")


class Lock(Record):
    """
    A pinned release.

    Attributes:
        version: version of the release.
        sha256: SHA-256 digest of the archive for each platform; empty if only the version is pinned.
    """

    version: str
    sha256: Mapping[str, str] = MappingProxyType({})


def table(lock: Lock, *, prefix: str = "") -> str:
    """
    Render the lock for the project file.

    Args:
        prefix: of the table's name, in a file with tables of other programs.
    """
    lines = [f"[{prefix}astro-cli]", f'version = "{lock.version}"', "", f"[{prefix}astro-cli.sha256]"]
    return "\n".join([*lines, *(f'{platform} = "{digest}"' for platform, digest in lock.sha256.items()), ""])


def findings(lock: Lock | None, policy: Policy) -> tuple[Finding, ...]:
    """Compare the lock of the project file with policy, which can require digests."""
    if not policy.cli_lock or (lock is not None and lock.sha256):
        return ()
    return (
        Finding(
            "no-lock", "policy requires a lock of the Astro CLI (cli_lock), and the project file has none"
        ),
    )
