"""A program that takes a secret from its standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError
from astro_token.system.programs import find_program, run_program, trusted_path, why_missing

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
    path = find_program(name, environ)
    if path is None:
        raise OutputError(
            f"{name} takes the value, and {why_missing(name, environ)}",
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
    argv = [find(program.argv[0], environ), *program.argv[1:]]
    clean = {**environ, "PATH": trusted_path(environ)}
    done = run_program(argv, clean, seconds=seconds, limit=_LONGEST, data=data)
    if done is not None and done.late:
        return BackendUnavailableError(f"{what} did not end in time", hint="try again later")
    if done is None or done.code != 0 or program.confirms.encode() not in done.output:
        return refused
    return None
