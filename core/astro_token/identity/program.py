"""Identity tokens that a program prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, BackendUnavailableError, IntegrityError
from astro_token.identity.web_token import LENGTH_LIMIT, web_token
from astro_token.system.programs import find_program, trusted_path, why_missing
from astro_token.system.running import run_program
from astro_token.system.variables import without_line_end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astro_token.secret import SecretValue

__all__ = ["printed_token"]


def printed_token(
    argv: list[str], environ: Mapping[str, str], seconds: float, hint: str, variables: Sequence[str]
) -> SecretValue:
    """
    Run a program with arguments that are not secret, and return the token from its standard output.

    Args:
        hint: the advice if the program is missing.
        variables: those of the CI system that the program reads.

    Raises:
        AccessDeniedError: it is not on PATH, where only absolute folders count, or it failed.
        BackendUnavailableError: it did not end in time, and was killed.
        IntegrityError: its output is not a token.
    """
    name = argv[0]
    path = find_program(name, environ)
    if path is None:
        raise AccessDeniedError(
            f"{name} gives the identity token, and {why_missing(name, environ)}", hint=hint
        )
    clean = {name: without_line_end(text) for name, text in environ.items()}
    clean["PATH"] = trusted_path(environ)
    done = run_program([path, *argv[1:]], clean, seconds=seconds, limit=LENGTH_LIMIT)
    if done is not None and done.late:
        raise BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if done is None or (done.code != 0 and not done.too_long):
        raise AccessDeniedError(
            f"{name} gives no identity token",
            hint=f"check {' and '.join(variables)}; "
            f"run `{' '.join(argv[:3])} … >/dev/null` in the job to see the reason",
        )
    damaged = IntegrityError(f"{name} printed no identity token", hint=f"check which {name} is on PATH")
    if done.too_long:
        raise damaged
    return web_token(done.output, damaged)
