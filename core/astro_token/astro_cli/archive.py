"""
Extract the program `astro` from an archive.

No member is written under its own name, so `tarfile`'s filters are not needed.
An archive with members that no release has is refused all the same.
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
# RecursionError: a header of a header of a header.
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
    Write the program in blocks. Some may be written before the archive is refused.

    Raises:
        IntegrityError: it is not an archive, or contains links, devices, paths out of it, or too much.
        OSError: as `write`.
    """
    content = _Content(gzip.GzipFile(fileobj=archive))
    try:
        # As a stream, which cannot be read twice.
        tar = tarfile.open(fileobj=cast("IO[bytes]", content), mode="r|")  # noqa: SIM115 (nothing to close)
        count = _write_program(tar, content, write)
        complaint = None if count else f"it contains no {PROGRAM}"
    except _Refusal as refusal:
        complaint = str(refusal)
    except _DAMAGE:
        complaint = "it cannot be read"
    if complaint:
        raise IntegrityError(
            f"the archive of the release is refused: {complaint}",
            hint="nothing was installed; tell Astronomer, because the digest is the release's own",
        )


def _write_program(tar: tarfile.TarFile, content: _Content, write: Callable[[bytes], object]) -> int:
    """Read all members, and return the number of those that are the program."""
    programs = count = 0
    while (member := tar.next()) is not None:
        count += 1
        parts = member.name.split("/")
        if not parts[0] or ".." in parts:
            raise _Refusal("the path of a member leads out of it")
        if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE}:
            raise _Refusal("a member is a link, a device, or another special file")
        is_program = parts[parts[0] == "." :] == [PROGRAM]
        programs += is_program
        if not 0 <= member.size <= (_PROGRAM_LIMIT if is_program else _OTHER_LIMIT) or count > _MEMBERS:
            raise _Refusal("it unpacks to more than a release contains")
        content.allow(member.size)
        if is_program:
            file = tar.extractfile(member)
            if programs > 1 or file is None or not member.size:
                raise _Refusal(f"{PROGRAM} is not a single file in it")
            while block := file.read(_BLOCK):
                write(block)
    return programs


class _Refusal(Exception):  # noqa: N818 (caught where it is raised)
    pass


class _Content:
    """The unpacked stream, up to a size: `tarfile` would keep a header of gigabytes in memory."""

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed = packed
        self._left = _HEADERS

    def allow(self, size: int) -> None:
        """Allow as many bytes, and the next headers."""
        self._left = size + _HEADERS

    def read(self, size: int) -> bytes:
        block = self._packed.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise _Refusal("it unpacks to more than a release contains")
        return block
