"""`rotate`: replace tokens by new ones without an outage."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.astro_api import AstroApi
from astro_token.cli.findings import describe_error
from astro_token.cli.lifecycle import LIFECYCLE_SECONDS, option, show_warnings
from astro_token.cli.output import note, print_json, report
from astro_token.cli.progress import progress
from astro_token.cli.table import show
from astro_token.errors import UsageError, worst
from astro_token.lifecycle.admin import read_admin
from astro_token.lifecycle.rotate import DEFAULT_GRACE, OUTCOMES, RotationOptions, Rotator
from astro_token.policy.parsers import duration
from astro_token.settings.resolve import Settings
from astro_token.system.signals import with_delayed_signals
from astro_token.wording import iso, when

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.lifecycle.rotate import RotationReport

_LONGEST_GRACE = timedelta(days=3650)
_WORDS = {"idle": "not due", "planned": "would rotate", "waiting": "in its grace period"}


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give --all or tokens")
    options = _options(arguments, _escrow(arguments))
    named = None if arguments.all else arguments.token or [None]
    settings = Settings(named, timeout=arguments.timeout, default_timeout=LIFECYCLE_SECONDS)
    requests = settings.tokens(named, decrypt=arguments.decrypt, accepts_chain=False)
    admin = read_admin(settings.environ, arguments.admin, settings.timeout)
    with AstroApi() as api, progress(len(requests), "rotating") as done, with_delayed_signals():
        rotator = Rotator(api, admin, options)
        reports = rotator.rotate_all(requests, is_named=not arguments.all, done=done)
    code = worst(each.exit_code for each in reports)
    now = datetime.now(UTC)
    if arguments.format == "json":
        print_json({"tokens": [_describe(each, now) for each in reports], "exit_code": code})
    else:
        show(("TOKEN", "OUTCOME", "EXPIRES", "PREVIOUS TOKEN"), [_row(each, now) for each in reports])
    for each in reports:
        show_warnings(_name(each), each.warnings)
        if each.error is not None:
            report(each.error.message, each.error.hint, each.exit_code)
    if len(reports) > 1:
        counts = Counter(each.outcome for each in reports)
        note(", ".join(f"{counts[name]} {_WORDS.get(name, name)}" for name in OUTCOMES if counts[name]))
    return code


def _escrow(arguments: argparse.Namespace) -> Path | None:
    """The escrow file of a rotation in place."""
    if arguments.in_place != (arguments.escrow is not None):
        raise UsageError(
            "--in-place and --escrow are not given together",
            hint="for example: astro-token rotate --in-place --escrow prod.escrow.age prod",
        )
    if not arguments.in_place:
        return None
    other = next((name for name in ("all", "finish", "grace") if getattr(arguments, name)), None)
    if other is not None:
        raise UsageError(
            f"--in-place and --{other} are both given",
            hint=f"leave --{other} out: a rotation in place has no overlap",
        )
    if len(arguments.token) != 1:
        raise UsageError("--in-place needs one token", hint="name the token, or its reference")
    if not arguments.escrow:
        raise UsageError("--escrow is empty", hint="name a new file")
    return Path(arguments.escrow)


def _options(arguments: argparse.Namespace, escrow: Path | None) -> RotationOptions:
    grace = option(duration, arguments.grace, "--grace")
    older = option(duration, arguments.if_older_than, "--if-older-than")
    within = option(duration, arguments.if_expires_within, "--if-expires-within")
    if grace is not None and grace > _LONGEST_GRACE:
        raise UsageError("--grace is longer than 3650 days", hint="give a shorter one, such as 24h")
    is_repeatable = arguments.finish or older is not None or within is not None
    if arguments.all and not is_repeatable and grace is not None and grace < DEFAULT_GRACE:
        raise UsageError(
            "--all with so short a --grace needs a condition: a run that is killed and repeated would "
            "rotate finished tokens again",
            hint="add --if-older-than 1h, or another time since the first run began; or leave --grace out",
        )
    if arguments.finish and (older is not None or within is not None):
        raise UsageError(
            "--finish starts no rotation, so that --if-older-than and --if-expires-within have no effect",
            hint="leave --finish out: every run finishes an open rotation",
        )
    return RotationOptions(grace, arguments.finish, older, within, arguments.dry_run, escrow)


def _name(each: RotationReport) -> str:
    settings = each.settings
    return (settings.name or str(settings.ref)) if settings else "-"


def _row(each: RotationReport, now: datetime) -> tuple[str, ...]:
    is_settled = each.outcome not in {"failed", "skipped"}
    never = "never" if is_settled else "-"
    kept = f"valid until {when(each.previous_until, now)}" if each.previous_until else "-"
    return (
        _name(each),
        _WORDS.get(each.outcome, each.outcome),
        when(each.expires, now) if each.expires else never,
        kept,
    )


def _describe(each: RotationReport, now: datetime) -> dict[str, Any]:
    settings, expires = each.settings, each.expires
    return {
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "outcome": each.outcome,
        "expires": iso(expires),
        "expires_in": int((expires - now).total_seconds()) if expires else None,
        "previous_until": iso(each.previous_until),
        "warnings": [{"message": message, "hint": hint} for message, hint in each.warnings],
        "error": describe_error(each.error) if each.error else None,
    }
