"""Identity tokens that a CI system's own program prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.errors import AccessDeniedError, BackendUnavailableError, IntegrityError
from astro_token.identity.web_token import LONGEST, web_token
from astro_token.system.programs import find_program, run_program, trusted_path, why_missing

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
    path = find_program(name, environ)
    if path is None:
        raise AccessDeniedError(
            f"{name} gives the identity token, and {why_missing(name, environ)}", hint=hint
        )
    clean = {**environ, "PATH": trusted_path(environ)}
    done = run_program([path, *argv[1:]], clean, seconds=seconds, limit=LONGEST)
    if done is not None and done.late:
        raise BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if done is None or (done.code != 0 and not done.too_long):
        raise AccessDeniedError(
            f"{name} gives no identity token",
            hint=f"run `{' '.join(argv[:3])} … >/dev/null` in the job to see why",
        )
    damaged = IntegrityError(f"what {name} printed is no identity token", hint=f"see which {name} is on PATH")
    if done.too_long:
        raise damaged
    return web_token(done.output, damaged)
