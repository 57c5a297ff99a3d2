"""Name the file, stream or limit that an `OSError` is about, and the remedy."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from astro_token.errors import InputOutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LIMITS", "exhausted", "naming", "reason", "remedy", "working_folder"]

_SPACE = "free space there, or use another folder"
_PROCESSES = "raise the limits on processes and memory (ulimit -u, ulimit -v, or those of the container)"
_FILES = "raise the limit on open files (ulimit -n)"
# These errors are about this process, whatever file it uses.
LIMITS = {
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EAGAIN: _PROCESSES,
    errno.ENOMEM: _PROCESSES,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}
_REMEDIES = {
    **LIMITS,
    errno.ENOSPC: _SPACE,
    getattr(errno, "EDQUOT", errno.ENOSPC): _SPACE,
    errno.EROFS: "use a folder of a writable file system",
}


def exhausted(error: BaseException) -> InputOutputError | None:
    """Return the error to report for an exception that only a limit of this process explains."""
    if isinstance(error, MemoryError):
        return InputOutputError("no memory is left", hint=_PROCESSES)
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return InputOutputError("no further thread can be started", hint=_PROCESSES)
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return InputOutputError(reason(error), hint=LIMITS[error.errno])
    return None


@contextmanager
def naming(name: os.PathLike[str] | str) -> Iterator[None]:
    """Name the file or stream in an `OSError` of the block, in place of a temporary file or of nothing."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(name), None
        raise


def reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


def remedy(error: OSError, otherwise: str) -> str:
    """Return the hint for an error; another one if its number alone does not tell."""
    return _REMEDIES.get(error.errno or 0, otherwise)


def working_folder() -> str:
    """
    Return the path of the working folder.

    Raises:
        InputOutputError: it was removed, or cannot be read.
    """
    try:
        return os.getcwd()  # noqa: PTH109 (pathlib is slow to load)
    except OSError as error:
        why = reason(error)
    raise InputOutputError(
        f"the working folder cannot be read: {why}", hint="change to a folder that exists, then try again"
    )
