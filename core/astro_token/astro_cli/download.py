"""Getting a text or an archive of the release server, of which each has its greatest length."""

from __future__ import annotations

import hashlib
import os
import time
from typing import IO, TYPE_CHECKING, Any

from astro_token.astro_cli.request import BETWEEN, answers, damaged, ended_early, final, out_of_time, refusal
from astro_token.errors import AstroTokenError, InputOutputError, IntegrityError
from astro_token.transport.network import connection_failure

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["read", "redirect", "save"]

_TEXT_LIMIT = 64 * 1024
_ARCHIVE_LIMIT = 300 * 1024 * 1024
_BLOCK = 256 * 1024


def read(url: str, environ: Mapping[str, str], seconds: float) -> bytes:
    """
    A short text.

    Raises:
        SecretNotFoundError: there is nothing.
        ConfigError: the address or the proxy cannot be used.
        AccessDeniedError: it is not for everybody.
        BackendDownError: the host name is unknown.
        BackendUnavailableError: it cannot be reached, is busy, or ended early.
        IntegrityError: no trusted TLS, a redirect to a place that is none, a damaged answer.
    """
    end = time.monotonic() + seconds
    answer = final(url, environ, seconds)
    text = b""
    with answer:
        while block := _block(answer, _TEXT_LIMIT, end):
            text += block
            if len(text) > _TEXT_LIMIT:
                raise damaged()
    return text


def save(
    url: str,
    path: Path,
    environ: Mapping[str, str],
    seconds: float,
    told: Callable[[int, int | None], None],
) -> str:
    """
    Writes a file and returns its SHA-256.

    Args:
        told: is called with the bytes that are there, and with all that are to come, if that is known.

    Raises:
        InputOutputError: it cannot be written.
        as `read`.
    """
    end = time.monotonic() + seconds
    answer = final(url, environ, seconds)
    digest, done = hashlib.sha256(), 0
    with answer, _opened(path) as file:
        size = answer.length
        while block := _block(answer, _BLOCK, end):
            done += len(block)
            if max(done, size or 0) > _ARCHIVE_LIMIT:
                raise IntegrityError(
                    f"the archive is larger than {_ARCHIVE_LIMIT >> 20} MiB, which none is", hint=BETWEEN
                )
            digest.update(block)
            _write(file, path, block)
            told(done, size)
    return digest.hexdigest()


def redirect(
    url: str, to: re.Pattern[str], environ: Mapping[str, str], seconds: float
) -> re.Match[str] | None:
    """
    The first redirect that leads to such an address, which is not asked itself; None where none does.

    Raises:
        as `read`.
    """
    for answer, following in answers(url, environ, seconds):
        with answer:
            found = to.search(following or "")
            if found:
                return found
            if following is None and (failure := refusal(answer)):
                raise failure
    return None


# -- a body and its file ------------------------------------------------------------------------------


def _block(answer: Any, most: int, end: float) -> bytes:
    """What there is of a body; nothing at its end, which has to be where it was said to be."""
    from http.client import HTTPException, IncompleteRead

    if time.monotonic() > end:
        raise out_of_time()
    failure: AstroTokenError
    try:
        block: bytes = answer.read1(most)
        if block or not answer.length:
            return block
        failure = ended_early()
    except OSError as error:
        failure = connection_failure(error, "the release server")
    except IncompleteRead:
        failure = ended_early()
    except HTTPException:
        failure = damaged()
    raise failure


def _opened(path: Path) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600), "wb", buffering=0)
    except OSError as error:
        failure = _unwritable(path, error)
    raise failure


def _write(file: IO[bytes], path: Path, block: bytes) -> None:
    view = memoryview(block)
    failure = None
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        failure = _unwritable(path, error)
    if failure is not None:
        raise failure


def _unwritable(path: Path, error: OSError) -> InputOutputError:
    # Here, because any other error of the thread that downloads counts as a bug of a backend.
    reason = os.strerror(error.errno or 5).lower()
    return InputOutputError(
        f"{path.parent}: {reason}", hint="see that there is space left, and leave to write"
    )
