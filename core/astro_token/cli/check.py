"""`check`: what tokens are, and whether they can be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from astro_token.cli.output import print_json, report, warn
from astro_token.deadline import Deadline
from astro_token.errors import AstroTokenError, UsageError, worst
from astro_token.policy import enforce, moment
from astro_token.read import checked
from astro_token.settings import TokenSettings, resolve, resolve_all

if TYPE_CHECKING:
    import argparse

    from astro_token.policy import Verdict
    from astro_token.process import Inherited
    from astro_token.token import AstroToken


_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one token: the token and its verdicts, or the error that kept it from being read."""

    settings: TokenSettings
    token: AstroToken | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: AstroTokenError | None = None

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0

    @property
    def status(self) -> str:
        if self.error is not None:
            return "failed"
        return "warning" if self.verdicts else "ok"


def run(arguments: argparse.Namespace, _inherited: Inherited) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give one or the other")
    if arguments.all:
        wanted = resolve_all(decrypt=arguments.decrypt, timeout=arguments.timeout)
    else:
        wanted = [
            resolve(token, decrypt=arguments.decrypt, timeout=arguments.timeout)
            for token in arguments.token or [None]
        ]
    findings = _find_all(wanted)
    if arguments.format == "json":
        print_json({"tokens": [_json(finding) for finding in findings]})
    else:
        _table(findings)
    for finding in findings:
        warn(finding.verdicts, finding.settings.ref)
        if finding.error is not None:
            report(finding.error.message, finding.error.hint, finding.exit_code)
    return worst([finding.exit_code for finding in findings])


def _find_all(wanted: list[TokenSettings]) -> list[Finding]:
    """All within one deadline, side by side: a backend that is slow or silent holds up no other."""
    deadline = Deadline(wanted[0].timeout)
    if len(wanted) == 1:
        return [_find(wanted[0], deadline)]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(_WORKERS)
    try:
        return list(pool.map(lambda settings: _find(settings, deadline), wanted))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a signal must not wait for what is under way


def _find(settings: TokenSettings, deadline: Deadline) -> Finding:
    try:
        token, verdicts = checked(settings, deadline=deadline)
    except AstroTokenError as error:
        return Finding(settings, error=error)
    try:
        enforce(verdicts, settings.ref)
    except AstroTokenError as error:
        return Finding(settings, token, verdicts, error)
    return Finding(settings, token, verdicts)


def _json(finding: Finding) -> dict[str, Any]:
    token, settings = finding.token, finding.settings
    return {
        "name": settings.name,
        "ref": str(settings.ref),
        "backend": settings.ref.scheme,
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
    }


def _iso(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None


def _table(findings: list[Finding]) -> None:
    from astro_token.cli.table import show

    rows = []
    for finding in findings:
        token = finding.token
        narrowest = getattr(token, token.scope) if token else None
        codes = ", ".join(verdict.code for verdict in finding.verdicts)
        rows.append(
            (
                finding.settings.name or str(finding.settings.ref),
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
