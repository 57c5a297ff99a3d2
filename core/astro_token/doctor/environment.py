"""The checks that need no service: the settings, the CI system, and the job's identity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci.system import ci_systems, in_ci
from astro_token.identity.systems import NoIdentity, given, present
from astro_token.settings.project_file import find_project
from astro_token.settings.resolve import FALLBACK, TokenSettings, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.doctor.report import Report

__all__ = ["check_ci", "check_identity", "check_settings"]


def check_settings(
    report: Report,
    token: str | None,
    *,
    decrypt: str | None,
    timeout: float | None,
    environ: Mapping[str, str],
) -> TokenSettings | None:
    def check() -> tuple[TokenSettings, str]:
        settings = resolve(token, decrypt=decrypt, timeout=timeout, environ=environ)
        details = [
            f"{settings.name}: {settings.ref}" if settings.name else str(settings.ref),
            _source(token, settings, environ),
        ]
        if settings.decrypt:
            details.append(f"decrypted with {settings.decrypt}")
        return settings, ", ".join(details)

    return report.run("settings", check)


def _source(token: str | None, settings: TokenSettings, environ: Mapping[str, str]) -> str:
    if token is not None:
        source = "the command line"
    elif environ.get("ASTRO_TOKEN_REF"):
        source = "ASTRO_TOKEN_REF"
    elif environ.get("ASTRO_TOKEN_BACKEND"):
        source = "ASTRO_TOKEN_BACKEND and ASTRO_TOKEN_NAME"
    elif settings.name:
        source = "the default"
    else:
        source = "ASTRO_API_TOKEN" if settings.ref == FALLBACK else "the settings"
    file = find_project(Path.cwd()).path
    if file is None:
        return f"from {source}; there is no astro-token.toml here"
    return f"from {source}; the project file is {file}"


def check_ci(report: Report, environ: Mapping[str, str]) -> None:
    systems = ci_systems(environ)
    if systems:
        details = [f"{system.name}, detected by {' and '.join(system.marks)}" for system in systems]
        report.add("ci", "ok", "; inside ".join(details))
    elif in_ci(environ):
        report.add("ci", "ok", "an unknown CI system, detected by CI")
    else:
        report.add("ci", "none", "not a CI system")


def check_identity(report: Report, environ: Mapping[str, str]) -> None:
    """Report the identities that could be exchanged for a credential. None is requested before a login."""
    explicit = given(environ)
    systems = [explicit] if explicit else present(environ)
    if not systems:
        report.add("identity", "none", "no CI system gives this process an identity")
    for system in systems:
        if isinstance(system, NoIdentity):
            report.add("identity", "none", f"{system.system} gives this job no identity", system.mend)
        else:
            report.add("identity", "ok", f"of {system.system}")
