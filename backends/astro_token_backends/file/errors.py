"""Translate an `OSError` of reading or writing a secret's file."""

from __future__ import annotations

import errno

from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    InputOutputError,
    OutputError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.system.os_errors import reason, remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from astro_token.secrets.ref import SecretRef

__all__ = ["unreadable", "unwritable"]


def unreadable(ref: SecretRef, error: OSError) -> AstroTokenError:
    if isinstance(error, IsADirectoryError):
        return UnusableSecretError(f"{ref}: it is not a regular file", hint="name the file itself")
    if isinstance(error, PermissionError):
        return AccessDeniedError(
            f"{ref}: permission to read the file is denied",
            hint="allow the current user to read the file and its folder",
        )
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}:
        return SecretNotFoundError(f"{ref}: the file does not exist", hint=_path_hint(ref))
    return InputOutputError(
        f"{ref}: reading the file failed: {reason(error)}", hint="fix that, then try again"
    )


def unwritable(ref: SecretRef, error: OSError) -> AstroTokenError:
    if isinstance(error, PermissionError):
        return AccessDeniedError(
            f"{ref}: permission to write the file is denied",
            hint="allow the current user to write to its folder",
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return OutputError(f"{ref}: its folder does not exist", hint=_path_hint(ref))
    return InputOutputError(
        f"{ref}: writing the file failed: {reason(error)}",
        hint=f"the file is unchanged; {remedy(error, 'fix that, then try again')}",
    )


def _path_hint(ref: SecretRef) -> str:
    if ref.name.startswith("~"):
        return "~ is not expanded here: write the complete path, or use $HOME"
    return "a relative path starts at the current folder, or at the folder of the project file that names it"
