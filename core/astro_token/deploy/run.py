"""Asking a program something, without a word of what it says on standard error."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from astro_token.child.run import find_command
from astro_token.errors import CommandError
from astro_token.system.programs import kill, output_of, start, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Answer", "ask", "outside", "program", "safe_path"]

SECONDS = 5.0
_MAX_BYTES = 256 * 1024


class Answer(NamedTuple):
    """
    Attributes:
        code: None where it said more than we read, and was ended.
    """

    code: int | None
    output: bytes


def program(name: str, environ: Mapping[str, str]) -> Path | None:
    """The program of this name on PATH, as `exec` finds it; None where there is none that can be run."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        with suppress(CommandError):
            if os.path.isabs(folder):  # noqa: PTH117
                return Path(find_command(f"{folder}/{name}", environ))
    return None


def outside(path: Path, folder: Path) -> bool:
    """False for what lies in the folder, by any name: what a checkout brings along is not run."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def safe_path(environ: Mapping[str, str], top: Path | None) -> str:
    """PATH without what is relative or lies in the folder, for programs that start others by their names."""
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(
        folder
        for folder in folders
        if os.path.isabs(folder) and (top is None or outside(Path(folder), top))  # noqa: PTH117
    )


def ask(argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> Answer | None:
    """
    Runs a program in a folder, with this environment and nothing else.

    Returns:
        None where it could not be started, or did not end in time.
    """
    process = start(argv, environ, folder=folder)
    if process is None:
        return None
    with within(process, SECONDS) as late:
        output = output_of(process, late, _MAX_BYTES)
        if len(output) > _MAX_BYTES:
            kill(process)
    if late.is_set():
        return None
    return Answer(None if len(output) > _MAX_BYTES else process.returncode, output)
