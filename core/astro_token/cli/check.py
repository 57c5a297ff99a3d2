"""`check`: what tokens are, and whether they can be used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.cli.output import print_json, report, warn
from astro_token.cli.progress import progress
from astro_token.errors import UsageError, result, worst
from astro_token.many import find_all
from astro_token.policy import moment
from astro_token.settings import resolve_several

if TYPE_CHECKING:
    import argparse

    from astro_token.cli.deploy import Shown
    from astro_token.many import Finding
    from astro_token.process import Inherited
    from astro_token.token import AstroToken


def run(arguments: argparse.Namespace, _inherited: Inherited) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give one or the other")
    if arguments.path is not None and not arguments.deploy:
        raise UsageError("--path is given without --deploy", hint="give both, or neither")
    wanted = resolve_several(
        None if arguments.all else arguments.token or [None],
        decrypt=arguments.decrypt,
        timeout=arguments.timeout,
    )
    if len(wanted) == 1:
        result(wanted[0])  # there is nothing to show
    with progress(len(wanted), "checking" if arguments.online else "reading") as done:
        findings = find_all(wanted, done=done, online=arguments.online)
    project = _deploy(arguments.path, findings) if arguments.deploy else None
    if arguments.format == "json":
        shown = {"deploy": project.json()} if project else {}
        print_json({"tokens": [_json(finding) for finding in findings], **shown})
    else:
        _table(findings)
        if project:
            project.table()
    for finding in findings:
        if finding.settings:
            warn(finding.verdicts, finding.settings.ref)
        if finding.error is not None:
            report(finding.error.message, finding.error.hint, finding.exit_code)
        other = finding.online.error if finding.online else None
        if finding.settings and other and finding.error and other.exit_code != finding.exit_code:
            report(f"{finding.settings.ref}: {other.message}", other.hint, other.exit_code)
    if project:
        project.tell()
    return worst([*(finding.exit_code for finding in findings), project.exit_code if project else 0])


def _deploy(path: str | None, findings: list[Finding]) -> Shown:
    from astro_token.cli.deploy import guarded

    return guarded(path, findings)


def _json(finding: Finding) -> dict[str, Any]:
    token, settings = finding.token, finding.settings
    return {
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "backend": settings.ref.scheme if settings else None,
        "version": token.secret.version if token else None,
        "status": finding.status,
        "scope": token.scope if token else None,
        "organization": token.organization if token else None,
        "workspace": token.workspace if token else None,
        "deployment": token.deployment if token else None,
        "token_id": token.token_id if token else None,
        "issued": _iso(token.issued) if token else None,
        "expires": _iso(token.expires) if token else None,
        "verdicts": [
            {"code": verdict.code, "level": verdict.level, "message": verdict.message, "hint": verdict.hint}
            for verdict in finding.verdicts
        ],
        "error": {
            "type": type(finding.error).__name__,
            "exit_code": finding.exit_code,
            "message": finding.error.message,
            "hint": finding.error.hint,
        }
        if finding.error
        else None,
        "online": _online(finding),
    }


def _online(finding: Finding) -> dict[str, Any] | None:
    if finding.online is None:
        return None
    from astro_token.cli.online import described

    return described(finding.online)


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None


def _table(findings: list[Finding]) -> None:
    from astro_token.cli.table import show

    rows = []
    for number, finding in enumerate(findings, 1):
        token, settings = finding.token, finding.settings
        narrowest = getattr(token, token.scope) if token else None
        codes = ", ".join(verdict.code for verdict in finding.verdicts)
        rows.append(
            (
                # What could not be understood is not repeated: it may be anything, pasted by mistake.
                (settings.name or str(settings.ref)) if settings else f"(number {number})",
                (token.secret.version or "-") if token else "-",
                token.scope if token else "-",
                narrowest or "-",
                _expiry(token),
                finding.status + (f": {codes}" if codes else ""),
            )
        )
    show(("TOKEN", "VERSION", "SCOPE", "FOR", "EXPIRES", "VERDICT"), rows)


def _expiry(token: AstroToken | None) -> str:
    if token is None:
        return "-"
    return moment(token.expires) if token.expires else "never"
