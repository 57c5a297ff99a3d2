"""A program that takes a secret from its standard input."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError
from astro_token.system.programs import on_path, output_of, start, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import Program

__all__ = ["feed", "find"]

# Of what it prints no more than this is looked at.
_LONGEST = 65536


def find(name: str, environ: Mapping[str, str]) -> str:
    """
    The program's path; of the folders of PATH only absolute ones count.

    Raises:
        OutputError: it is in none of them.
    """
    path = on_path(name, environ)
    if path is None:
        raise OutputError(
            f"{name} takes the value, and is not on PATH",
            hint="run us where the CI system's own program is, or use exec",
        )
    return path


def feed(program: Program, data: bytes, environ: Mapping[str, str], seconds: float) -> AstroTokenError | None:
    """
    Runs a program on the data; what it prints is shown to nobody, since it may repeat the data.

    Returns its error, so that no traceback leads here.

    Raises:
        OutputError: the program is not there.
    """
    what = " ".join(program.argv[:3])
    refused = OutputError(
        f"{what} did not take the value",
        hint="see that it is the CI system's own and of this job, or use exec",
    )
    process = start([find(program.argv[0], environ), *program.argv[1:]], environ, fed=True)
    if process is None:
        return refused
    with within(process, seconds) as late:
        if process.stdin:
            with suppress(BrokenPipeError):
                process.stdin.write(data)
                process.stdin.close()
        printed = output_of(process, late, _LONGEST, drained=True)
    if late.is_set():
        return BackendUnavailableError(f"{what} did not end in time", hint="try again later")
    if process.returncode != 0 or program.confirms.encode() not in printed:
        return refused
    return None
