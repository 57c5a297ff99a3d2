"""The lock: which release of the Astro CLI a project wants, and the digests of its archives."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIGEST", "PLATFORMS", "VERSION", "Lock", "table"]

# By Go's names for systems and machines, as in the names of the archives.
PLATFORMS = ("darwin-amd64", "darwin-arm64", "linux-386", "linux-amd64", "linux-arm64")
VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){2}(?:-[0-9A-Za-z]{1,20}(?:[.-][0-9A-Za-z]{1,20}){0,4})?")
DIGEST = re.compile(r"[0-9a-f]{64}")


class Lock(NamedTuple):
    """
    Attributes:
        sha256: the digest of each platform's archive; none at all where only the version is wanted.
    """

    version: str
    sha256: Mapping[str, str] = MappingProxyType({})


def table(lock: Lock, *, prefix: str = "") -> str:
    """
    The lock as it stands in the project's file.

    Args:
        prefix: of the table's name, where the file is one that others share.
    """
    lines = [f"[{prefix}astro-cli]", f'version = "{lock.version}"', "", f"[{prefix}astro-cli.sha256]"]
    return "\n".join([*lines, *(f'{platform} = "{digest}"' for platform, digest in lock.sha256.items()), ""])
