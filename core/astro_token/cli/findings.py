"""Describe the report of a token, or of a deploy: as a document for programs, and as texts for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astro_token import errors
from astro_token.wording import from_now, iso, when

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from astro_token.astro_api.records import TokenRecord
    from astro_token.deploy import PreflightReport
    from astro_token.policy.rules import Verdict
    from astro_token.tokens.chain import Member
    from astro_token.tokens.online import Online
    from astro_token.tokens.read_many import TokenReport

    Row = tuple[str, ...]
    Block = list[tuple[str, str]]

__all__ = [
    "chain_lines",
    "describe_error",
    "describe_preflight",
    "describe_record",
    "describe_token",
    "describe_verdicts",
    "fields",
    "name",
    "roles_text",
    "tabulate",
    "verdict_lines",
]

NONE = "-"


# -- for programs: schemas/check.json defines the documents, docs/check.md explains them ------------------


def describe_token(report: TokenReport, now: datetime) -> dict[str, Any]:
    token, settings, error = report.token, report.settings, report.error
    expires = token.expires if token else None
    return {
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "backend": settings.ref.scheme if settings else None,
        "chain": [_describe_member(member) for member in report.chain],
        "version": (token.secret.version or None) if token else None,
        "status": report.status,
        **_attributes(token, "scope", "organization", "workspace", "deployment", "token_id"),
        "issued": iso(token.issued) if token else None,
        "expires": iso(expires),
        "expires_in": int((expires - now).total_seconds()) if expires else None,
        "verdicts": describe_verdicts(report.verdicts),
        "error": describe_error(error) if error else None,
        "online": _describe_online(report.online) if report.online else None,
    }


def _describe_member(member: Member) -> dict[str, Any]:
    return {
        "ref": str(member.ref),
        "status": member.status,
        "error": describe_error(member.error) if member.error else None,
    }


def describe_preflight(report: PreflightReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        **_attributes(report, "status", "exit_code"),
        "verdicts": describe_verdicts(report.verdicts),
    }


def describe_verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "code": verdict.code,
            "level": verdict.level,
            "message": _one_line(verdict.message),
            "hint": _one_line(verdict.hint),
        }
        for verdict in verdicts
    ]


def describe_error(error: errors.AstroTokenError) -> dict[str, Any]:
    """Describe an error by our class: a plugin may raise a subclass."""
    kind = next(base for base in type(error).__mro__ if base.__name__ in errors.__all__)
    return {
        "type": kind.__name__,
        "exit_code": error.exit_code,
        "message": _one_line(error.message) or "no message",
        "hint": _one_line(error.hint) if error.hint else None,
    }


def _describe_online(online: Online) -> dict[str, Any]:
    record, organization, deployment = online.record, online.organization, online.deployment
    return {
        "accepted": online.accepted,
        "token": describe_record(record) if record else None,
        "organization": _attributes(organization, "id", "product") if organization else None,
        "workspace": online.workspace_id,
        "deployment": _attributes(deployment, "id", "workspace", "ci_cd_enforced", "status")
        if deployment
        else None,
        "clock_ahead": None if online.ahead is None else round(online.ahead),
        "requests": [
            {"asked": request.kind, **_attributes(request, "status", "request_id")}
            for request in online.requests
        ],
        "error": describe_error(online.error) if online.error else None,
    }


def describe_record(record: TokenRecord) -> dict[str, Any]:
    return {
        **_attributes(record, "scope", "kind"),
        "roles": [_attributes(role, "role", "kind", "entity") for role in record.roles],
        **{time: iso(getattr(record, time)) for time in ("created", "rotated", "last_used", "expires")},
    }


def _attributes(record: object, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name, None) for name in names}


def _one_line(text: str) -> str:
    """Replace line ends, which a path may contain."""
    return text.replace("\r", "?").replace("\n", "?")


# -- for people ------------------------------------------------------------------------------------------


def name(report: TokenReport, number: int) -> str:
    """Name a token. A request that is not a reference is not shown: it may be a token."""
    settings = report.settings
    return (settings.name or str(settings.ref)) if settings else f"(number {number})"


def fields(report: TokenReport, number: int, now: datetime) -> dict[str, str]:
    """Describe a token by titles, apart from its verdicts; without one, by the error."""
    token, settings, online = report.token, report.settings, report.online
    shown: dict[str, str | None] = {"TOKEN": name(report, number)}
    if settings and settings.name:
        shown["REFERENCE"] = str(settings.ref)
    shown["BACKEND"] = settings.ref.scheme if settings else None
    if token is None:
        shown["ERROR"] = _cause(report.error, settings.ref if settings else "")
    else:
        shown["VERSION"] = token.secret.version
        for title in ("SCOPE", "ORGANIZATION", "WORKSPACE", "DEPLOYMENT", "TOKEN ID"):
            shown[title] = getattr(token, title.lower().replace(" ", "_"))
        shown["ISSUED"] = when(token.issued, now) if token.issued else None
        shown["EXPIRES"] = when(token.expires, now) if token.expires else "never"
    if online:
        answers = {True: "accepts it", False: "does not accept it", None: "gave no answer"}
        shown["ASTRO"] = answers[online.accepted]
        if record := online.record:
            shown["ROLES"] = roles_text(record)
            shown["LAST USED"] = when(record.last_used, now) if record.last_used else None
        if online.deployment:
            shown["CI/CD ONLY"] = "yes" if online.deployment.ci_cd_enforced else "no"
    return {title: text or NONE for title, text in shown.items()}


def _cause(error: errors.AstroTokenError | None, ref: object) -> str | None:
    """The message of an error, without the reference in front."""
    return _one_line(error.message).removeprefix(f"{ref}: ") if error else None


def roles_text(record: TokenRecord) -> str:
    return ", ".join(f"{role.role or 'a custom role'} of {role.entity or role.kind}" for role in record.roles)


def tabulate(reports: Sequence[TokenReport], now: datetime) -> tuple[Sequence[str], list[Row], list[Block]]:
    """Return a head, rows if there are several tokens, and for each token a block with everything."""
    rows: list[Row] = []
    blocks: list[Block] = []
    for number, report in enumerate(reports, 1):
        first, *others = verdict_lines(report)
        shown = fields(report, number, now)
        expires = report.token.expires if report.token else None
        expiry = f"{expires:%Y-%m-%d}, {from_now(expires, now)}" if expires else shown.get("EXPIRES", NONE)
        rows.append((shown["TOKEN"], shown.get("SCOPE", NONE), expiry, first))
        rows += [("", "", "", other) for other in others]
        chain = zip(("CHAIN", *[""] * len(report.chain)), chain_lines(report), strict=False)
        blocks.append([*shown.items(), *chain, ("VERDICT", first), *(("", other) for other in others)])
    return ("TOKEN", "SCOPE", "EXPIRES", "VERDICT"), rows if len(reports) > 1 else [], blocks


def chain_lines(report: TokenReport) -> list[str]:
    """Return a line for each reference of a chain: its outcome, and the reason."""
    lines = []
    for member in report.chain:
        cause = _cause(member.error, member.ref)
        reason = f" ({cause})" if cause else ""
        lines.append(f"{member.ref}: {member.status}{reason}")
    return lines


def verdict_lines(report: TokenReport) -> list[str]:
    """Return a line for each verdict, and `failed` for an error that is not a verdict."""
    lines = [f"{verdict.level}: {verdict.code}" for verdict in report.verdicts]
    has_failed = report.error and all(verdict.level != "error" for verdict in report.verdicts)
    is_incomplete = report.online and report.online.error
    return [*(["failed"] if has_failed or is_incomplete else []), *lines] or ["ok"]
