"""Load the file that a reference names, and check its mode."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

from astro_token.errors import AccessDeniedError, AstroTokenError, InvalidTokenError, SecretNotFoundError
from astro_token.log import logger
from astro_token.record import Record
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import is_ciphertext
from astro_token.system.files import anybody_can_write, open_regular, others_can_read
from astro_token_backends.file.header import read_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from astro_token.secrets.ref import SecretRef
    from astro_token_backends.file.header import AgeHeader

__all__ = ["MAX_BYTES", "Content", "load", "version"]

MAX_BYTES = 256 * 1024


class Content(Record):
    """
    A file as it was read.

    Attributes:
        raw: its bytes, which are the secret itself if the file is plain.
        header: None if the file is not encrypted with age.
        version: None if the file is plain.
        modified: time of the last write, in seconds since 1970.
    """

    raw: SecretValue
    header: AgeHeader | None
    version: str | None
    modified: float


def version(encrypted: bytes) -> str:
    """Return the name of a version. It is made from ciphertext, and so may be shown."""
    import hashlib

    return hashlib.sha256(encrypted).hexdigest()[:16]


def load(ref: SecretRef) -> Content:
    """
    Read a file. Links are followed, because mounted secrets are links.

    Raises:
        SecretNotFoundError: the file does not exist, or is empty.
        UnusableSecretError: it is not a regular file.
        AccessDeniedError: it cannot be read, or everybody can write a plain one.
        InvalidTokenError: it is too large to hold a token.
        BackendError: reading failed.
    """
    try:
        with open_regular(Path(ref.name)) as file:
            content = _content(ref, file)
    except OSError as error:
        from astro_token_backends.file.errors import unreadable

        content = unreadable(ref, error)
    if isinstance(content, AstroTokenError):
        raise content
    return content


def _content(ref: SecretRef, file: IO[bytes]) -> Content | AstroTokenError:
    raw = SecretValue(file.read(MAX_BYTES + 1))
    size = len(raw.reveal())
    if not size:
        return SecretNotFoundError(
            f"{ref}: the file is empty", hint="check the program that writes or mounts it"
        )
    if size > MAX_BYTES:
        return InvalidTokenError(
            f"{ref}: the file is larger than {MAX_BYTES // 1024} KiB", hint="name a file that holds a token"
        )
    modified = os.fstat(file.fileno()).st_mtime
    header = read_header(raw.reveal())
    if header is not None:
        return Content(raw, header, version(raw.reveal()), modified)
    if is_ciphertext(raw):  # authenticated, as an age file is
        named = SecretValue(raw.reveal(), version(raw.reveal()))
        return Content(named, None, named.version, modified)
    if anybody_can_write(file):
        return AccessDeniedError(
            f"{ref}: every user can write this plain file, so its token may be anybody's",
            hint=f"check that the token is yours, then chmod 600 {quote(ref.name)}",
        )
    if others_can_read(file):
        logger.warning("%s: every user of this machine can read this plain file: chmod go-r it", ref)
    return Content(raw, None, None, modified)
