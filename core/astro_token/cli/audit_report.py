"""The report of `audit`: as a document for programs, as tables, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from astro_token.cli.findings import NONE, describe_record, describe_verdicts, roles_text
from astro_token.cli.markdown import code, markdown_table
from astro_token.cli.output import harmless
from astro_token.policy.rules import CODES
from astro_token.wording import from_now, iso, when

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from astro_token.lifecycle.audit import Audit, Audited, AuditedConfiguration, AuditedToken

    Table = tuple[Sequence[str], list[tuple[str, ...]], list[list[tuple[str, str]]]]

__all__ = ["csv_text", "document", "markdown", "summary", "tables", "totals"]

_MOST_ROWS = 200  # of Markdown: a job's summary is limited to 1 MiB, and nobody reads it
# A spreadsheet computes a cell that begins so, also with the wide signs of East Asian keyboards.
# Where the comma is the decimal point, it begins a cell after a semicolon.
_FORMULA = re.compile(r"(?:^|(?<=;))(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_CELLS = ("id", "title", "status", "scope", "kind", "roles")
_TIMES = ("created", "rotated", "last_used", "expires")


def document(audit: Audit) -> dict[str, Any]:
    """Describe the audit for programs: schemas/audit.json defines the document."""
    return {
        "organization": audit.organization,
        "time": iso(audit.now),
        "configurations_known": audit.is_complete,
        "summary": {
            "tokens": len(audit.tokens),
            **{level: audit.statuses[level] for level in ("error", "warning", "ok")},
            "findings": [{"code": name, "count": count} for name, count in sorted(audit.codes.items())],
        },
        "tokens": [_describe_token(token) for token in audit.tokens],
        "configurations": [_describe_configuration(item) for item in audit.configurations],
    }


def _describe_token(token: AuditedToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "title": token.title,
        "status": token.status,
        **describe_record(token.record),
        "configurations": list(token.holders),
        "verdicts": describe_verdicts(token.verdicts),
    }


def _describe_configuration(item: AuditedConfiguration) -> dict[str, Any]:
    held = item.configuration
    return {
        "name": held.name,
        "ref": held.ref,
        "token_id": held.token_id,
        "status": item.status,
        "verdicts": describe_verdicts(item.verdicts),
    }


# -- for people ------------------------------------------------------------------------------------------


def summary(audit: Audit) -> list[tuple[str, int, str, str]]:
    """Return the kinds of findings, errors first, then the most frequent: code, count, meaning, remedy."""
    kinds = sorted(audit.codes.items(), key=lambda kind: (CODES[kind[0]].level != "error", -kind[1], kind[0]))
    return [(name, count, CODES[name].meaning, CODES[name].remedy) for name, count in kinds]


def totals(audit: Audit, organization: str) -> str:
    count, levels = len(audit.tokens), audit.statuses
    return (
        f"{count} token{'s' * (count != 1)} of {organization}: {levels['error']} with an error, "
        f"{levels['warning']} with a warning, {levels['ok']} without a finding"
    )


def tables(audit: Audit) -> Iterator[Table]:
    """Yield a head, rows, and for each row a block with everything."""
    rows: list[tuple[str, ...]] = []
    blocks = []
    for token in audit.tokens:
        shown = _fields(token, audit.now)
        first, *others = _verdicts(token)
        scope, used, holders = (shown[title] for title in ("SCOPE", "LAST USED", "HELD BY"))
        expires = _day(token.record.expires, audit.now, "never")
        used = _day(token.record.last_used, audit.now, "never")
        rows.append((shown["TITLE"], token.id, scope, expires, used, holders, first))
        rows += [("", "", "", "", "", "", other) for other in others]
        blocks.append([*shown.items(), ("VERDICT", first), *(("", other) for other in others)])
    yield ("TITLE", "ID", "SCOPE", "EXPIRES", "LAST USED", "HELD BY", "VERDICT"), rows, blocks
    yield (
        ("CONFIGURATION", "REFERENCE", "TOKEN ID", "VERDICT"),
        [
            (held.name, held.ref or NONE, held.token_id or NONE, ", ".join(_verdicts(item)))
            for item in audit.configurations
            for held in (item.configuration,)
        ],
        [],
    )
    if kinds := summary(audit):
        head = ("FINDING", "COUNT", "MEANING", "WHAT TO DO")
        yield head, [(name, str(count), meaning, remedy) for name, count, meaning, remedy in kinds], []


def _fields(token: AuditedToken, now: datetime) -> dict[str, str]:
    record = token.record
    return {
        "TITLE": token.title or NONE,
        "ID": token.id,
        "SCOPE": record.scope or NONE,
        "KIND": record.kind or NONE,
        "ROLES": roles_text(record) or NONE,
        "CREATED": when(record.created, now) if record.created else NONE,
        "ROTATED": when(record.rotated, now) if record.rotated else "never",
        "LAST USED": when(record.last_used, now) if record.last_used else "never",
        "EXPIRES": when(record.expires, now) if record.expires else "never",
        "HELD BY": ", ".join(token.holders) or NONE,
    }


def _day(time: datetime | None, now: datetime, absent: str) -> str:
    return f"{time:%Y-%m-%d}, {from_now(time, now)}" if time else absent


def _verdicts(item: Audited) -> list[str]:
    return [f"{verdict.level}: {verdict.code}" for verdict in item.verdicts] or ["ok"]


def csv_text(audit: Audit) -> str:
    """Render a line for each token. No cell is a formula for a spreadsheet."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("id", "title", "status", "scope", "kind", "roles", *_TIMES, "configurations", "findings")
    )
    for token in audit.tokens:
        record = token.record
        cells = (
            token.id,
            token.title or "",
            token.status,
            record.scope or "",
            record.kind or "",
            roles_text(record),
            *(iso(getattr(record, time)) or "" for time in _TIMES),
            " ".join(token.holders),
            " ".join(verdict.code for verdict in token.verdicts),
        )
        writer.writerow([_cell(text) for text in cells])
    return file.getvalue()


def _cell(text: str) -> str:
    return _FORMULA.sub("'", harmless(text))


def markdown(audit: Audit) -> str:
    """Render a job's summary: the findings, and the tokens and configurations that have some."""
    lines = ["### astro-token audit", "", f"{totals(audit, code(audit.organization))}."]
    if kinds := summary(audit):
        rows = [(code(name), str(count), meaning, remedy) for name, count, meaning, remedy in kinds]
        lines += ["", *markdown_table(("Finding", "Count", "Meaning", "What to do"), rows)]
    held = [item for item in audit.configurations if item.verdicts]
    if held:
        rows_held = [
            [code(item.configuration.name), code(item.configuration.ref or ""), ", ".join(_verdicts(item))]
            for item in held
        ]
        lines += ["", *markdown_table(("Configuration", "Reference", "Verdict"), rows_held)]
    tokens = [token for token in audit.tokens if token.verdicts]
    if tokens:
        head = ("Token", "Id", "Scope", "Expires", "Last used", "Held by", "Verdict")
        lines += ["", *markdown_table(head, [_row(token, audit.now) for token in tokens[:_MOST_ROWS]])]
    if len(tokens) > _MOST_ROWS:
        lines += ["", f"{len(tokens) - _MOST_ROWS} more tokens with findings are in the other formats."]
    return "\n".join(lines) + "\n"


def _row(token: AuditedToken, now: datetime) -> list[str]:
    record = token.record
    return [
        code(token.title or ""),
        code(token.id),
        record.scope or NONE,
        _day(record.expires, now, "never"),
        _day(record.last_used, now, "never"),
        code(", ".join(token.holders)),
        ", ".join(_verdicts(token)),
    ]
