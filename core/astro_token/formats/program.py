"""Pass a secret to a program's standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, BackendUnavailableError, OutputError
from astro_token.system.programs import find_program, run_program, trusted_path, why_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import Program

__all__ = ["feed", "find"]

_OUTPUT_LIMIT = 65536  # bytes of a program's output that are looked at


def find(name: str, environ: Mapping[str, str]) -> str:
    """
    Return the program's path; only absolute folders of PATH count.

    Raises:
        OutputError: no folder contains it.
    """
    path = find_program(name, environ)
    if path is None:
        raise OutputError(
            f"{name} takes the value, and {why_missing(name, environ)}",
            hint="run astro-token where the CI system's own program is, or use exec",
        )
    return path


def feed(program: Program, data: bytes, environ: Mapping[str, str], seconds: float) -> AstroTokenError | None:
    """
    Run a program with the data as its input. Its output is never shown, since it may repeat the data.

    Returns its error, so that no traceback leads here.

    Raises:
        OutputError: the program does not exist.
    """
    name = " ".join(program.argv[:3])
    refused = OutputError(
        f"{name} did not take the value",
        hint="see that it is the CI system's own program and belongs to this job, or use exec",
    )
    argv = [find(program.argv[0], environ), *program.argv[1:]]
    clean = {**environ, "PATH": trusted_path(environ)}
    done = run_program(argv, clean, seconds=seconds, limit=_OUTPUT_LIMIT, data=data)
    if done is not None and done.late:
        return BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if done is None or done.code != 0 or program.confirms.encode() not in done.output:
        return refused
    return None
