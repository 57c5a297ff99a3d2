"""Check what needs no service: the settings, the CI system, and the job's identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.ci import ci_systems, in_ci
from astro_token.ci.identity import job_identities
from astro_token.errors import AstroTokenError
from astro_token.identity import NoIdentity
from astro_token.identity.web_token import describe_identity
from astro_token.settings.resolve import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.doctor.report import Report
    from astro_token.settings.resolve import TokenSettings

__all__ = ["check_ci", "check_identity", "check_settings"]


def check_settings(
    report: Report,
    token: str | None,
    *,
    decrypt: str | None,
    timeout: float | None,
    environ: Mapping[str, str],
) -> tuple[TokenSettings | None, Settings | None]:
    """Resolve the settings of the token. Also return those that all tokens share, even if this fails."""
    shared: Settings | None = None

    def check() -> tuple[TokenSettings, str]:
        nonlocal shared
        shared = Settings([token], timeout=timeout, environ=environ)
        settings = shared.token(token, decrypt=decrypt)
        file = settings.project_file
        refs = ", then ".join(map(str, settings.refs))
        details = [
            f"{settings.name}: {refs}" if settings.name else refs,
            settings.source,
            *([f"decrypted with {settings.decrypt}"] if settings.decrypt else []),
            f"the project file is {file}" if file else "there is no astro-token.toml here",
        ]
        return settings, ", ".join(details)

    return report.run("settings", check), shared


def check_ci(report: Report, environ: Mapping[str, str]) -> None:
    systems = ci_systems(environ)
    if systems:
        report.add("ci", "ok", "; inside ".join(system.description for system in systems))
    elif in_ci(environ):
        report.add("ci", "ok", "an unknown CI system, detected by CI")
    else:
        report.add("ci", "none", "not a CI system")


def check_identity(report: Report, environ: Mapping[str, str]) -> None:
    """
    Report the identities that could be exchanged for a credential, with their claims if the token is here.

    Only a login requests one.
    """
    identities = job_identities(environ)
    if not identities:
        report.add("identity", "none", "no CI system gives this process an identity")
    for identity in identities:
        if isinstance(identity, NoIdentity):
            report.add("identity", "none", f"{identity.source} gives this job no identity", identity.hint)
            continue
        claims = ""
        if identity.is_stored:
            try:
                claims = describe_identity(identity.fetch(None, 0))
            except AstroTokenError as error:  # a warning: perhaps nothing needs the identity
                report.add("identity", "warning", error.message, error.hint)
                continue
        report.add("identity", "ok", f"of {identity.source}{claims and f': {claims}'}")
