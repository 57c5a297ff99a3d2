"""The report of one token: as a document for programs, and as texts for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token import errors
from astro_token.wording import from_now, iso, when

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from astro_token.astro_api.records import TokenRecord
    from astro_token.tokens.online import Online
    from astro_token.tokens.read_many import TokenReport

    Row = tuple[str, ...]
    Block = list[tuple[str, str]]

__all__ = ["described", "failure", "fields", "name", "one_line", "tabled", "verdicts"]

NONE = "-"


def described(report: TokenReport, now: datetime) -> dict[str, Any]:
    """Build the document of a token; schemas/check.json defines it, docs/check.md explains it."""
    token, settings, error = report.token, report.settings, report.error
    expires = token.expires if token else None
    return {
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "backend": settings.ref.scheme if settings else None,
        "version": (token.secret.version or None) if token else None,
        "status": report.status,
        "scope": token.scope if token else None,
        "organization": token.organization if token else None,
        "workspace": token.workspace if token else None,
        "deployment": token.deployment if token else None,
        "token_id": token.token_id if token else None,
        "issued": iso(token.issued) if token else None,
        "expires": iso(expires),
        "expires_in": int((expires - now).total_seconds()) if expires else None,
        "verdicts": [
            {"code": verdict.code, "level": verdict.level, "message": verdict.message, "hint": verdict.hint}
            for verdict in report.verdicts
        ],
        "error": failure(error) if error else None,
        "online": _describe_online(report.online) if report.online else None,
    }


def failure(error: errors.AstroTokenError) -> dict[str, Any]:
    """Build the document of an error, with our class: a plugin may raise a subclass."""
    kind = next(base for base in type(error).__mro__ if base.__name__ in errors.__all__)
    return {
        "type": kind.__name__,
        "exit_code": error.exit_code,
        "message": one_line(error.message) or "no message",
        "hint": one_line(error.hint) if error.hint else None,
    }


def one_line(text: str) -> str:
    """Replace line ends, which a path may contain."""
    return text.replace("\r", "?").replace("\n", "?")


def name(report: TokenReport, number: int) -> str:
    """Name a token for people. A request that is not a reference is not shown: it may be a token."""
    settings = report.settings
    return (settings.name or str(settings.ref)) if settings else f"(number {number})"


def fields(report: TokenReport, number: int, now: datetime) -> dict[str, str]:
    """Describe a token by titles, apart from its verdicts."""
    token, settings = report.token, report.settings
    shown = {"TOKEN": name(report, number)}
    if settings and settings.name:
        shown["REFERENCE"] = str(settings.ref)
    shown["BACKEND"] = settings.ref.scheme if settings else NONE
    claims = {
        "VERSION": token.secret.version if token else None,
        "SCOPE": token.scope if token else None,
        "ORGANIZATION": token.organization if token else None,
        "WORKSPACE": token.workspace if token else None,
        "DEPLOYMENT": token.deployment if token else None,
        "TOKEN ID": token.token_id if token else None,
        "ISSUED": when(token.issued, now) if token and token.issued else None,
        "EXPIRES": (when(token.expires, now) if token.expires else "never") if token else None,
    }
    shown |= {title: text or NONE for title, text in claims.items()}
    return shown | (_of_astro(report.online, now) if report.online else {})


def _of_astro(online: Online, now: datetime) -> dict[str, str]:
    """Describe Astro's responses."""
    answers = {True: "accepts it", False: "does not accept it", None: "gave no answer"}
    shown = {"ASTRO": answers[online.accepted]}
    record, deployment = online.record, online.deployment
    if record:
        roles = [f"{role.role or 'a custom role'} of {role.entity or role.kind}" for role in record.roles]
        shown["ROLES"] = ", ".join(roles) or NONE
        shown["LAST USED"] = when(record.last_used, now) if record.last_used else NONE
    if deployment:
        shown["CI/CD ONLY"] = "yes" if deployment.ci_cd_enforced else "no"
    return shown


def tabled(reports: Sequence[TokenReport], now: datetime) -> tuple[Sequence[str], list[Row], list[Block]]:
    """Return a head, rows if there are several tokens, and for each token a block with everything."""
    rows: list[Row] = []
    blocks: list[Block] = []
    for number, report in enumerate(reports, 1):
        first, *others = verdicts(report)
        rows += [(*_row(report, number, now), first), *(("", "", "", other) for other in others)]
        shown = fields(report, number, now)
        blocks.append([*shown.items(), ("VERDICT", first), *(("", other) for other in others)])
    return ("TOKEN", "SCOPE", "EXPIRES", "VERDICT"), rows if len(reports) > 1 else [], blocks


def _row(report: TokenReport, number: int, now: datetime) -> tuple[str, str, str]:
    """Return the cells that fit into a line: name, scope, expiry."""
    token = report.token
    expires = NONE
    if token:
        expires = f"{token.expires:%Y-%m-%d}, {from_now(token.expires, now)}" if token.expires else "never"
    return name(report, number), token.scope if token else NONE, expires


def verdicts(report: TokenReport) -> list[str]:
    """Return a line for each verdict, and `failed` for an error that is not a verdict."""
    lines = [f"{verdict.level}: {verdict.code}" for verdict in report.verdicts]
    has_failed = report.error and all(verdict.level != "error" for verdict in report.verdicts)
    is_incomplete = report.online and report.online.error
    return [*(["failed"] if has_failed or is_incomplete else []), *lines] or ["ok"]


def _describe_online(online: Online) -> dict[str, Any]:
    organization, deployment, error = online.organization, online.deployment, online.error
    return {
        "accepted": online.accepted,
        "token": _record(online.record) if online.record else None,
        "organization": {"id": organization.id, "product": organization.product} if organization else None,
        "workspace": online.workspace_id,
        "deployment": {
            "id": deployment.id,
            "workspace": deployment.workspace,
            "ci_cd_enforced": deployment.ci_cd_enforced,
            "status": deployment.status,
        }
        if deployment
        else None,
        "clock_ahead": None if online.ahead is None else round(online.ahead),
        "requests": [
            {"asked": request.kind, "status": request.status, "request_id": request.request_id}
            for request in online.requests
        ],
        "error": failure(error) if error else None,
    }


def _record(record: TokenRecord) -> dict[str, Any]:
    return {
        "scope": record.scope,
        "kind": record.kind,
        "roles": [{"role": role.role, "kind": role.kind, "entity": role.entity} for role in record.roles],
        "created": iso(record.created),
        "rotated": iso(record.rotated),
        "last_used": iso(record.last_used),
        "expires": iso(record.expires),
    }
