"""
The report of `audit` as one HTML file, for a browser and for paper.

It loads nothing and runs nothing. Every text is escaped, and its own policy would block a script.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from pkgutil import get_data
from typing import TYPE_CHECKING

from astro_token.cli.audit_report import summary
from astro_token.cli.findings import NONE, roles_text
from astro_token.cli.output import harmless
from astro_token.version import __version__
from astro_token.wording import from_now, moment, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from astro_token.lifecycle.audit import Audit, AuditedToken
    from astro_token.policy.rules import Verdict

__all__ = ["render"]

_LEVELS = ("error", "warning", "ok")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS_AHEAD = 12
_WIDTH, _COLUMN, _BAR = 960, 64, 40
_TOP, _AXIS, _HEIGHT = 24, 184, 226  # the bars are between the first two


def render(audit: Audit) -> str:
    style = (get_data("astro_token.cli", "audit.css") or b"").decode()
    counts = audit.statuses
    cards = [("", "tokens", len(audit.tokens)), *((level, _CARDS[level], counts[level]) for level in _LEVELS)]
    return "\n".join((
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Audit of the API tokens of {_text(audit.organization)}</title>",
        f"<style>\n{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>API tokens of {_text(audit.organization)}</h1>",
        f'<p class="about">{_about(audit)}</p>',
        '<ul class="counts">',
        *(f'<li class="{level}"><b>{count}</b> {label}</li>' for level, label, count in cards),
        "</ul>",
        "<h2>Expiry</h2>",
        *_timeline(audit),
        *_findings(audit),
        *_configurations(audit),
        "<h2>Tokens</h2>",
        *_table(
            "tokens",
            ("Status", "Token", "Scope and roles", "Expires", "Last used", "Created", "Held by", "Findings"),
            (_row(token, audit.now) for token in audit.tokens),
        ),
        "</main>",
        "</body>",
        "</html>",
        "",
    ))  # fmt: skip


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CARDS = {"error": "with an error", "warning": "with a warning", "ok": "without a finding"}


def _text(text: str) -> str:
    return escape(harmless(text))


def _about(audit: Audit) -> str:
    """Describe the audit, and the rules that the tokens were compared with."""
    policy = audit.policy
    rules = [
        f"widest scope {policy.max_scope}" if policy.max_scope else "",
        "expiry required" if policy.require_expiry else "",
        f"at least {span(policy.min_validity)} left" if policy.min_validity else "",
        f"warning {span(policy.warn_validity)} before the expiry",
        f"at most {span(policy.max_age)} since the last rotation" if policy.max_age else "",
    ]
    rule = ", ".join(filter(None, rules))
    return f"Audit of {moment(audit.now)} by astro-token {__version__}. Policy: {rule}."


# -- the timeline ----------------------------------------------------------------------------------------


def _timeline(audit: Audit) -> Iterator[str]:
    """Draw a column for each of the next months, and for the tokens that are outside of them."""
    first = audit.now.year * 12 + audit.now.month - 1
    labels = ["expired", *map(_month, range(first, first + _MONTHS_AHEAD)), "later", "never"]
    columns = [Counter[str]() for _ in labels]
    for token in audit.tokens:
        columns[_column(token.record.expires, audit.now, first)][token.status] += 1
    most = max(map(Counter.total, columns)) or 1
    described = [f"{label}: {column.total()}" for label, column in zip(labels, columns, strict=True)]
    yield "<figure>"
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="when" id="timeline">'
    yield f'<title id="when">Number of tokens by the month of their expiry: {"; ".join(described)}</title>'
    yield f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_AXIS}" y2="{_AXIS}" />'
    for number, (label, column) in enumerate(zip(labels, columns, strict=True)):
        middle = number * _COLUMN + _COLUMN // 2
        top = float(_AXIS)
        for level in reversed(_LEVELS):
            if column[level]:
                height = max(2.0, column[level] / most * (_AXIS - _TOP))
                top -= height
                yield (
                    f'<rect class="{level}" x="{middle - _BAR // 2}" y="{top:.1f}" width="{_BAR}" '
                    f'height="{height:.1f}"><title>{label}: {column[level]} {_CARDS[level]}</title></rect>'
                )
        if column.total():
            yield f'<text class="count" x="{middle}" y="{top - 6:.1f}">{column.total()}</text>'
        month, _, year = label.partition(" ")
        yield f'<text x="{middle}" y="{_AXIS + 18}">{month}</text>'
        if year and (number == 1 or month == _MONTHS[0]):
            yield f'<text x="{middle}" y="{_AXIS + 34}">{year}</text>'
    yield "</svg>"
    legend = "".join(f'<span><i class="{level}"></i>{_CARDS[level]}</span>' for level in _LEVELS)
    yield f"<figcaption>{legend}</figcaption>"
    yield "</figure>"


def _month(number: int) -> str:
    year, month = divmod(number, 12)
    return f"{_MONTHS[month]} {year}"


def _column(expires: datetime | None, now: datetime, first: int) -> int:
    if expires is None:
        return _MONTHS_AHEAD + 2
    if expires <= now:
        return 0
    month = expires.year * 12 + expires.month - 1
    return 1 + min(max(month - first, 0), _MONTHS_AHEAD)


# -- the tables ------------------------------------------------------------------------------------------


def _findings(audit: Audit) -> Iterator[str]:
    kinds = summary(audit)
    if not kinds:
        return
    yield "<h2>Findings</h2>"
    rows = [
        [f"<code>{name}</code>", f"{count}", _marked(meaning), _marked(remedy)]
        for name, count, meaning, remedy in kinds
    ]
    yield from _table("findings", ("Finding", "Count", "Meaning", "What to do"), rows)


def _configurations(audit: Audit) -> Iterator[str]:
    yield "<h2>Configured tokens</h2>"
    rows = [
        [
            _pill(item.status),
            _text(item.configuration.name),
            f"<code>{_text(item.configuration.ref or NONE)}</code>",
            f"<code>{_text(item.configuration.token_id or NONE)}</code>",
            _verdicts(item.verdicts),
        ]
        for item in audit.configurations
    ]
    yield from _table("configurations", ("Status", "Name", "Reference", "Token id", "Findings"), rows)
    if not audit.is_complete:
        yield (
            '<p class="about">Not every configured token is known: '
            "tokens that no configuration holds are not reported.</p>"
        )


def _row(token: AuditedToken, now: datetime) -> list[str]:
    record = token.record
    title = f"<bdi>{_text(token.title)}</bdi>" if token.title else "<small>(title not shown)</small>"
    rotated = f"<small>rotated {_day(record.rotated, now)}</small>" if record.rotated else ""
    return [
        _pill(token.status),
        f"{title}<small><code>{_text(token.id)}</code></small>",
        f"{record.scope or NONE}<small>{_text(roles_text(record))}</small>",
        _day(record.expires, now),
        _day(record.last_used, now),
        f"{_day(record.created, now)}{rotated}",
        _text(", ".join(token.holders)) or NONE,
        _verdicts(token.verdicts),
    ]


def _day(time: datetime | None, now: datetime) -> str:
    return f"{time:%Y-%m-%d} <small>{from_now(time, now)}</small>" if time else "never"


def _pill(level: str) -> str:
    return f'<span class="pill {level}">{level}</span>'


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    items = [
        f'<li class="level-{verdict.level}"><code>{verdict.code}</code>'
        f"<small>{_text(verdict.message)}</small></li>"
        for verdict in verdicts
    ]
    return f"<ul>{''.join(items)}</ul>" if items else NONE


def _marked(text: str) -> str:
    """Replace the backticks of a meaning or a remedy."""
    return "".join(
        f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(_text(text).split("`"))
    )


def _table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f'<table id="{name}">'
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    yield f"<thead><tr>{titles}</tr></thead>"
    yield "<tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
    yield "</tbody>"
    yield "</table>"
