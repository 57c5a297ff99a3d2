"""
Check every step from the settings to Astro, in order, and report each with its state and a hint.

    environment    service       secret         astro
    settings       backend       permission     token
    variables      sdk           secret         policy
    ci             credential    version        astro (the program)
    identity       network       field          api
    chain          login         decryption

The steps from backend to policy are those of `tokens.steps`: an observer reports them and probes services.
Of a chain, `chain` reports every reference, and the other checks are those of the last one that was tried.
A failed check skips only the checks that need it. Each is tried once, and nothing is written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.doctor.astro import check_api, check_program
from astro_token.doctor.environment import check_ci, check_identity, check_settings
from astro_token.doctor.investigation import Investigation, report_chain
from astro_token.doctor.report import CHECKS, STATES, Check, Report
from astro_token.doctor.variables import check_variables
from astro_token.tokens.steps import READING, SELECTION, TokenPath, steps, walk
from astro_token.transport.deadline import DEFAULT_SECONDS, Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.errors import AstroTokenError
    from astro_token.settings.resolve import TokenSettings

__all__ = ["CHECKS", "STATES", "Check", "Report", "examine"]

_ATTEMPT = 5.0  # seconds for one check: a person waits


def examine(
    token: str | None = None,
    *,
    decrypt: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    offline: bool = False,
) -> tuple[TokenSettings | None, Report]:
    """
    Check every step for a token. Failures are reported, not raised.

    Args:
        token, decrypt, timeout: as in `settings.resolve`.
        offline: do not contact Astro's API. Services of the secret and the key are still contacted.
    """
    environ = os.environ if environ is None else environ
    report = Report()
    settings, shared = check_settings(report, token, decrypt=decrypt, timeout=timeout, environ=environ)
    refs = [ref for ref in (*settings.refs, settings.decrypt) if ref] if settings else []
    check_variables(report, environ, refs)
    check_ci(report, environ)
    check_identity(report, environ)
    seconds = settings.timeout if settings else DEFAULT_SECONDS
    observer, path = Investigation(report), None
    if settings is None:
        first, last = CHECKS.index("backend"), CHECKS.index("key-backend")
        report.skip(*CHECKS[first:last], "token", "policy", why="the settings do not select a token")
    else:
        path = TokenPath(settings, Deadline(seconds, attempt=_ATTEMPT, attempts=1))
        settings = _read(report, path)
        walk(path, steps(settings, online=False), observer)
    check_program(report, environ, shared, settings, path.token if path else None)
    if offline:
        report.skip("api", why="--offline")
    else:
        check_api(report, path, observer, environ, min(seconds, _ATTEMPT))
    return settings, report


def _read(report: Report, path: TokenPath) -> TokenSettings:
    """Report the reading of the secret. Return the settings with the reference that was tried last."""
    last = Report()

    def attempt(path: TokenPath) -> AstroTokenError | None:
        nonlocal last
        last = Report()
        walk(path, (*READING, *SELECTION), Investigation(last))
        return last.failure

    error = attempt(path)
    if error is not None and path.is_chain:
        from astro_token.tokens.chain import try_others

        error = try_others(path, error, attempt)
    report_chain(report, path, error)
    report.checks += last.checks
    return path.settings
