"""What came of one token: as a document for programs, and as texts for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token import errors
from astro_token.wording import from_now, iso, when

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from astro_token.astro_api.records import TokenRecord
    from astro_token.tokens.online import Online
    from astro_token.tokens.read_many import Finding

    Row = tuple[str, ...]
    Block = list[tuple[str, str]]

__all__ = ["described", "failure", "fields", "name", "one_line", "tabled", "verdicts"]

NONE = "-"


def described(finding: Finding, now: datetime) -> dict[str, Any]:
    """For programs: schemas/check.json has the form, docs/check.md the meaning."""
    token, settings, error = finding.token, finding.settings, finding.error
    expires = token.expires if token else None
    return {
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "backend": settings.ref.scheme if settings else None,
        "version": (token.secret.version or None) if token else None,
        "status": finding.status,
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
            for verdict in finding.verdicts
        ],
        "error": failure(error) if error else None,
        "online": _online(finding),
    }


def failure(error: errors.AstroTokenError) -> dict[str, Any]:
    """An error in the document's words: a backend of somebody else's may have a class of its own."""
    kind = next(one for one in type(error).__mro__ if one.__name__ in errors.__all__)
    return {
        "type": kind.__name__,
        "exit_code": error.exit_code,
        "message": one_line(error.message) or "it does not say why",
        "hint": one_line(error.hint) if error.hint else None,
    }


def one_line(text: str) -> str:
    """A path can have a line end in it."""
    return text.replace("\r", "?").replace("\n", "?")


def _online(finding: Finding) -> dict[str, Any] | None:
    if finding.online is None:
        return None
    return _described_online(finding.online)


def name(finding: Finding, number: int) -> str:
    """What people call it. What could not be understood is not shown: it may be a token."""
    settings = finding.settings
    return (settings.name or str(settings.ref)) if settings else f"(number {number})"


def fields(finding: Finding, number: int, now: datetime) -> dict[str, str]:
    """All there is to show of a token but its verdicts, by title."""
    token, settings = finding.token, finding.settings
    shown = {"TOKEN": name(finding, number)}
    if settings and settings.name:
        shown["REFERENCE"] = str(settings.ref)
    shown["BACKEND"] = settings.ref.scheme if settings else NONE
    known = {
        "VERSION": token.secret.version if token else None,
        "SCOPE": token.scope if token else None,
        "ORGANIZATION": token.organization if token else None,
        "WORKSPACE": token.workspace if token else None,
        "DEPLOYMENT": token.deployment if token else None,
        "TOKEN ID": token.token_id if token else None,
        "ISSUED": when(token.issued, now) if token and token.issued else None,
        "EXPIRES": (when(token.expires, now) if token.expires else "never") if token else None,
    }
    shown |= {title: text or NONE for title, text in known.items()}
    return shown | (_of_astro(finding.online, now) if finding.online else {})


def _of_astro(online: Online, now: datetime) -> dict[str, str]:
    """What Astro said, where it was asked."""
    said = {True: "accepts it", False: "does not accept it", None: "gave no answer"}
    shown = {"ASTRO": said[online.accepted]}
    record, deployment = online.record, online.deployment
    if record:
        roles = [f"{one.role or 'a role of your own'} of {one.entity or one.kind}" for one in record.roles]
        shown["ROLES"] = ", ".join(roles) or NONE
        shown["LAST USED"] = when(record.last_used, now) if record.last_used else NONE
    if deployment:
        shown["CI/CD ONLY"] = "yes" if deployment.ci_cd_enforced else "no"
    return shown


def tabled(findings: Sequence[Finding], now: datetime) -> tuple[Sequence[str], list[Row], list[Block]]:
    """A head, lines for each of several, and for each a block with all; of one there is the block alone."""
    rows: list[Row] = []
    blocks: list[Block] = []
    for number, finding in enumerate(findings, 1):
        first, *more = verdicts(finding)
        rows += [(*_row(finding, number, now), first), *(("", "", "", other) for other in more)]
        shown = fields(finding, number, now)
        blocks.append([*shown.items(), ("VERDICT", first), *(("", other) for other in more)])
    return ("TOKEN", "SCOPE", "EXPIRES", "VERDICT"), rows if len(findings) > 1 else [], blocks


def _row(finding: Finding, number: int, now: datetime) -> tuple[str, str, str]:
    """What a line has room for: name, scope, expiry."""
    token = finding.token
    expires = NONE
    if token:
        expires = f"{token.expires:%Y-%m-%d}, {from_now(token.expires, now)}" if token.expires else "never"
    return name(finding, number), token.scope if token else NONE, expires


def verdicts(finding: Finding) -> list[str]:
    """A line for each verdict; what failed otherwise is no verdict, and `failed` alone."""
    lines = [f"{verdict.level}: {verdict.code}" for verdict in finding.verdicts]
    other = finding.error and all(verdict.level != "error" for verdict in finding.verdicts)
    unasked = finding.online and finding.online.error
    return [*(["failed"] if other or unasked else []), *lines] or ["ok"]


def _described_online(online: Online) -> dict[str, Any]:
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
            {"asked": asked.what, "status": asked.status, "request_id": asked.request_id}
            for asked in online.asked
        ],
        "error": failure(error) if error else None,
    }


def _record(record: TokenRecord) -> dict[str, Any]:
    return {
        "scope": record.scope,
        "kind": record.kind,
        "roles": [{"role": one.role, "kind": one.kind, "entity": one.entity} for one in record.roles],
        "created": iso(record.created),
        "rotated": iso(record.rotated),
        "last_used": iso(record.last_used),
        "expires": iso(record.expires),
    }
