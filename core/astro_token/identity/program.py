"""Identity tokens that a program prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, IntegrityError
from astro_token.identity.web_token import LENGTH_LIMIT, web_token
from astro_token.system.programs import kill, on_path, output_of, start, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["printed_token"]


def printed_token(argv: list[str], environ: Mapping[str, str], seconds: float, hint: str) -> SecretValue:
    """
    Run a program, whose arguments hold no secret, and return the token from its standard output.

    Args:
        hint: the advice if the program is missing.

    Raises:
        AccessDeniedError: it is not on PATH (of which only absolute folders count), or prints no token.
        BackendUnavailableError: it did not end in time, and was killed.
        IntegrityError: its output is not a token.
    """
    name = argv[0]
    path = on_path(name, environ)
    if path is None:
        raise AccessDeniedError(f"{name} gives the identity token, and is not on PATH", hint=hint)
    refused: AstroTokenError = AccessDeniedError(
        f"{name} gives no identity token",
        hint=f"run `{' '.join(argv[:3])} … >/dev/null` in the job to see the reason",
    )
    process = start([path, *argv[1:]], environ)
    if process is None:
        raise refused
    with within(process, seconds) as late:
        # Output that is longer than any token is not read; the program is killed.
        output = output_of(process, late, LENGTH_LIMIT)
        if len(output) > LENGTH_LIMIT:
            kill(process)
    if late.is_set():
        raise BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if process.returncode != 0 and len(output) <= LENGTH_LIMIT:
        raise refused
    damaged = IntegrityError(f"{name} printed no identity token", hint=f"see which {name} is on PATH")
    return web_token(output, damaged)
