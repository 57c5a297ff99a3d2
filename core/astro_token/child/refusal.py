"""Explain why the system does not run a command that exists."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from astro_token.errors import CommandError
from astro_token.system.os_errors import LIMITS, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cannot_run", "printable"]

_NOT_EXECUTABLE = 126
_PROGRAM = "name a program, or a script that starts with #!, that you may execute"
_MARK = b"\xef\xbb\xbf"
_LONGEST = 256  # bytes that Linux reads of a first line


def cannot_run(name: str, path: Path, error: OSError | None = None) -> CommandError:
    """
    Build the error for a command.

    Args:
        error: of the attempt to start it; None if its file is not executable.
    """
    why, hint = _cause(path, error)
    return CommandError(
        f"{printable(name)}: cannot be run: {printable(why)}", exit_code=_NOT_EXECUTABLE, hint=hint
    )


def _cause(path: Path, error: OSError | None) -> tuple[str, str]:
    number = error.errno if error else errno.EACCES
    if number in LIMITS:
        return reason(OSError(number, "")), LIMITS[number]
    if number == errno.E2BIG:
        return "its arguments and environment are too long", "shorten them, or remove variables"
    if number == errno.ENOEXEC:
        if _first_line(path).startswith(_MARK):
            return "a byte-order mark precedes its #!", "save it as UTF-8 without a byte-order mark"
        return "it is not a program for this machine, and has no line with #!", _PROGRAM
    if number in {errno.EACCES, errno.EPERM}:
        return _denial(path, error)
    if number == errno.ENOENT:
        return _missing_part(path)
    return reason(OSError(number, "")), _PROGRAM


def _denial(path: Path, error: OSError | None) -> tuple[str, str]:
    with suppress(OSError):
        if path.is_dir():
            return "it is a folder", _PROGRAM
        if not path.stat().st_mode & 0o111:
            return "it is not executable", "chmod +x it, or give its interpreter as the command"
        if os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0):
            return (
                "its file system is mounted with noexec",
                "copy it to another file system, or give its interpreter as the command",
            )
    interpreter = _interpreter(path)
    if error and interpreter:
        return f"its interpreter {interpreter} cannot be run", "correct the line with #!"
    return "permission denied", "let the user who runs astro-token execute it"


def _missing_part(path: Path) -> tuple[str, str]:
    """Explain why a file that exists is reported as missing."""
    interpreter = _interpreter(path)
    if interpreter.endswith("\r"):
        return "its line with #! ends with a carriage return", "save it with LF line ends, not CRLF"
    if interpreter:
        return f"its interpreter {interpreter} does not exist", "install it, or correct the line with #!"
    return (
        "its loader does not exist, because it was built for another system",
        "install the build for this system: for glibc, or for musl as in Alpine",
    )


def _interpreter(path: Path) -> str:
    line = _first_line(path)
    if not line.startswith(b"#!"):
        return ""
    return line[2:].decode(errors="replace").lstrip(" \t").partition("\n")[0].partition(" ")[0]


def _first_line(path: Path) -> bytes:
    from astro_token.system.files import open_regular

    with suppress(OSError), open_regular(path) as file:
        return file.readline(_LONGEST)
    return b""


def printable(name: str) -> str:
    """Replace characters of a command's name that could forge a line of output."""
    return "".join(character if character.isprintable() else "?" for character in name)[:200]
