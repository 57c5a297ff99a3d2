"""What lies at a path, with its mode checked, and what an `OSError` means to a caller."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    InputOutputError,
    InvalidTokenError,
    OutputError,
    SecretNotFoundError,
)
from astro_token.log import logger
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import is_ciphertext
from astro_token.system.files import anybody_can_write, open_regular, others_can_read
from astro_token_backends.file.header import read_header

if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.file.header import AgeHeader

__all__ = ["MAX_BYTES", "Content", "load", "unwritable", "version"]

MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """
    Attributes:
        raw: the file's bytes, which are the secret itself where the file is plain.
        header: None where the file is not encrypted with age.
        version: None where the file is not encrypted at all.
        updated: when it was written last.
    """

    raw: SecretValue
    header: AgeHeader | None
    version: str | None
    updated: datetime


def version(encrypted: bytes) -> str:
    """The name of a version. It is made of ciphertext, and so may be shown."""
    return hashlib.sha256(encrypted).hexdigest()[:16]


def load(ref: SecretRef) -> Content:
    """
    Reads a file whole, through links, because mounted secrets are links.

    Raises:
        SecretNotFoundError: there is no such file, it is empty, or it is no regular file.
        AccessDeniedError: we may not read it, or others may write a plain one.
        InvalidTokenError: it is too large to hold a token.
        BackendError: reading failed.
    """
    try:
        with open_regular(Path(ref.name)) as file:
            content = _content(ref, file)
    except OSError as error:
        content = _unreadable(ref, error)
    if isinstance(content, AstroTokenError):
        raise content
    return content


def _content(ref: SecretRef, file: IO[bytes]) -> Content | AstroTokenError:
    raw = SecretValue(file.read(MAX_BYTES + 1))
    size = len(raw.reveal())
    if not size:
        return SecretNotFoundError(
            f"{ref}: the file is empty", hint="see that whatever writes or mounts it had the secret"
        )
    if size > MAX_BYTES:
        return InvalidTokenError(
            f"{ref}: the file is larger than {MAX_BYTES // 1024} KiB", hint="name a file that holds a token"
        )
    updated = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    header = read_header(raw.reveal())
    if header is not None:
        return Content(raw, header, version(raw.reveal()), updated)
    if anybody_can_write(file):
        return AccessDeniedError(
            f"{ref}: every user may write this plain file, so its token may be anybody's",
            hint=f"see that the token is yours, then chmod 600 {ref.name}",
        )
    if is_ciphertext(raw):
        named = SecretValue(raw.reveal(), version(raw.reveal()))
        return Content(named, None, named.version, updated)
    if others_can_read(file):
        logger.warning("%s: every user of this machine can read this plain file: chmod go-r it", ref)
    return Content(raw, None, None, updated)


def _unreadable(ref: SecretRef, error: OSError) -> AstroTokenError:
    if isinstance(error, IsADirectoryError):
        return SecretNotFoundError(f"{ref}: it is no regular file", hint="name the file itself")
    if isinstance(error, PermissionError):
        return AccessDeniedError(
            f"{ref}: the file may not be read", hint="let the user who runs this read the file and its folder"
        )
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}:
        return SecretNotFoundError(f"{ref}: there is no such file", hint=_path_hint(ref))
    return InputOutputError(
        f"{ref}: reading the file failed: {_reason(error)}", hint="mend that, and try again"
    )


def unwritable(ref: SecretRef, error: OSError) -> AstroTokenError:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AccessDeniedError(
            f"{ref}: the file may not be written", hint="let the user who runs this write to its folder"
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return OutputError(f"{ref}: its folder does not exist", hint=_path_hint(ref))
    return InputOutputError(
        f"{ref}: writing the file failed: {_reason(error)}",
        hint="the file is as it was: mend that, and try again",
    )


def _path_hint(ref: SecretRef) -> str:
    if ref.name.startswith("~"):
        return "~ is not expanded here: write the path out, or use $HOME"
    return "a path is taken from the current folder, or from that of the project's file which names it"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
