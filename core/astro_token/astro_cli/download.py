"""Downloads from the release server, each up to a limit."""

from __future__ import annotations

import hashlib
import os
import time
from typing import IO, TYPE_CHECKING

from astro_token.astro_cli.request import (
    CHECK_ROUTE,
    final_response,
    response_failure,
    responses,
    until_silent,
)
from astro_token.errors import InputOutputError, IntegrityError
from astro_token.transport.client import Client

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
    Download a short text.

    Raises:
        SecretNotFoundError: the server does not have it.
        ConfigError: the address, the proxy or a CA file cannot be used.
        AccessDeniedError: the server denies anonymous access.
        BackendDownError: the host name is unknown.
        BackendUnavailableError: the server cannot be reached, is busy, or ended the response early.
        IntegrityError: no trusted TLS, a redirect that is not accepted, or a damaged response.
    """
    end = time.monotonic() + seconds
    text = b""
    with Client() as client, final_response(client, url, environ, end) as response:
        while block := response.read(_TEXT_LIMIT, until_silent(end)):
            text += block
            if len(text) > _TEXT_LIMIT:
                raise response.damaged()
    return text


def save(
    url: str,
    path: Path,
    environ: Mapping[str, str],
    seconds: float,
    progress: Callable[[int, int | None], None],
) -> str:
    """
    Download a file and return its SHA-256.

    Args:
        progress: receives the bytes that have arrived, and the size if it is known.

    Raises:
        InputOutputError: the file cannot be written.
        as `read`.
    """
    end = time.monotonic() + seconds
    digest, count = hashlib.sha256(), 0
    with Client() as client, final_response(client, url, environ, end) as response, _opened(path) as file:
        size = response.length
        # Some servers call an archive's own compression an encoding.
        while block := response.read(_BLOCK, until_silent(end), allow_packed=True):
            count += len(block)
            if max(count, size or 0) > _ARCHIVE_LIMIT:
                raise IntegrityError(
                    f"the archive is larger than {_ARCHIVE_LIMIT >> 20} MiB, and no release is",
                    hint=CHECK_ROUTE,
                )
            digest.update(block)
            _write(file, path, block)
            progress(count, size)
    return digest.hexdigest()


def redirect(
    url: str, pattern: re.Pattern[str], environ: Mapping[str, str], seconds: float
) -> re.Match[str] | None:
    """
    Search the targets of redirects for a pattern. The first that matches is not requested.

    Raises:
        as `read`.
    """
    with Client() as client:
        for response, target in responses(client, url, environ, time.monotonic() + seconds):
            with response:
                if match := pattern.search(target or ""):
                    return match
                if target is None and (failure := response_failure(response)):
                    raise failure
    return None


# -- the file -----------------------------------------------------------------------------------------


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
    # Translated here, because any other error in the downloading thread counts as a bug of a backend.
    reason = os.strerror(error.errno or 5).lower()
    return InputOutputError(
        f"{path.parent}: {reason}", hint="check the free space and the permissions of the folder"
    )
