"""Identity tokens that a CI system's own program prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, AstroTokenError, BackendUnavailableError, IntegrityError
from astro_token.identity.web_token import LONGEST, web_token
from astro_token.system.programs import kill, on_path, output_of, start, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue

__all__ = ["printed"]


def printed(argv: list[str], environ: Mapping[str, str], seconds: float, hint: str) -> SecretValue:
    """
    Runs a program, whose arguments hold no secret, and takes the token from its standard output.

    Args:
        hint: what to do where it is missing.

    Raises:
        AccessDeniedError: it is not on PATH (of whose folders only absolute ones count), or gives none.
        BackendUnavailableError: it did not end in time, and was killed.
        IntegrityError: what it printed is no token.
    """
    name = argv[0]
    path = on_path(name, environ)
    if path is None:
        raise AccessDeniedError(f"{name} gives the identity token, and is not on PATH", hint=hint)
    refused: AstroTokenError = AccessDeniedError(
        f"{name} gives no identity token",
        hint=f"run `{' '.join(argv[:3])} … >/dev/null` in the job to see why",
    )
    process = start([path, *argv[1:]], environ)
    if process is None:
        raise refused
    with within(process, seconds) as late:
        # No more than a token can have; what is left unread ends with the program.
        output = output_of(process, late, LONGEST)
        if len(output) > LONGEST:
            kill(process)
    if late.is_set():
        raise BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if process.returncode != 0 and len(output) <= LONGEST:
        raise refused
    damaged = IntegrityError(f"what {name} printed is no identity token", hint=f"see which {name} is on PATH")
    return web_token(output, damaged)
