"""
The one program of an archive, and nothing else of it.

No member is ever written under a name that the archive gives it, so `tarfile`'s filters have nothing to do.
An archive that holds what no release holds is refused as a whole all the same: something is wrong with it.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from astro_token.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROGRAM", "unpack"]

PROGRAM = "astro"
_PROGRAM_LIMIT = 400 * 1024 * 1024
_OTHER_LIMIT = 4 * 1024 * 1024
_MEMBERS = 64
_HEADERS = 1024 * 1024
_BLOCK = 256 * 1024
# The last one is a header of a header of a header.
_DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
)


def unpack(archive: IO[bytes], write: Callable[[bytes], object]) -> None:
    """
    Hands the program over in pieces, some of them perhaps before the archive is refused.

    Raises:
        IntegrityError: it is no such archive, or holds links, devices, paths that lead out of it, too much.
        OSError: as `write`.
    """
    content = _Content(gzip.GzipFile(fileobj=archive))
    try:
        # A stream: nothing of what came before can be asked for again.
        tar = tarfile.open(fileobj=cast("IO[bytes]", content), mode="r|")  # noqa: SIM115 (nothing to close)
        found = _programs(tar, content, write)
        complaint = None if found else f"it holds no {PROGRAM}"
    except _Refusal as refusal:
        complaint = str(refusal)
    except _DAMAGE:
        complaint = "it is no archive that can be read"
    if complaint:
        raise IntegrityError(
            f"the archive of the release is refused: {complaint}",
            hint="nothing was installed; tell Astronomer, for its digest is the one of the release",
        )


def _programs(tar: tarfile.TarFile, content: _Content, write: Callable[[bytes], object]) -> int:
    """Goes through all members, and returns how many of them are the program."""
    found = count = 0
    while (member := tar.next()) is not None:
        count += 1
        parts = member.name.split("/")
        if not parts[0] or ".." in parts:
            raise _Refusal("the path of a member leads out of it")
        if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE}:
            raise _Refusal("a member is a link, a device, or something else that is no file")
        wanted = parts[parts[0] == "." :] == [PROGRAM]
        found += wanted
        if not 0 <= member.size <= (_PROGRAM_LIMIT if wanted else _OTHER_LIMIT) or count > _MEMBERS:
            raise _Refusal("it unpacks to more than a release holds")
        if wanted and (found > 1 or member.isdir() or not member.size):
            raise _Refusal(f"{PROGRAM} is not one file in it")
        content.allow(member.size)
        if wanted:
            _copy(tar, member, write)
    return found


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, write: Callable[[bytes], object]) -> None:
    file = tar.extractfile(member)
    if file is None:
        raise _Refusal(f"{PROGRAM} is no file")
    left = member.size
    while left:
        block = file.read(min(_BLOCK, left))
        if not block:
            raise _Refusal("it ends early")
        left -= len(block)
        write(block)


class _Refusal(Exception):  # noqa: N818 (caught where it is raised)
    pass


class _Content:
    """
    What is packed, of which no more can be read than was allowed.

    A header may say that it is followed by gigabytes of more header, which `tarfile` would keep in memory.
    """

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed = packed
        self._left = _HEADERS

    def allow(self, size: int) -> None:
        """Allows as much as that, and the next headers."""
        self._left = size + _HEADERS

    def read(self, size: int) -> bytes:
        block = self._packed.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise _Refusal("it unpacks to more than a release holds")
        return block
