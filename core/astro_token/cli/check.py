"""`check`: verify tokens, and show their claims."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.cli.output import print_json
from astro_token.cli.output import report as report_error
from astro_token.cli.progress import progress
from astro_token.errors import InputOutputError, PolicyError, UsageError, worst
from astro_token.settings.resolve import Settings
from astro_token.tokens.read_many import verify_all

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.deploy import PreflightReport
    from astro_token.tokens.read_many import TokenReport


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give --all or tokens")
    if arguments.path is not None and not arguments.deploy:
        raise UsageError("--path requires --deploy", hint="add --deploy, or leave --path out")
    tokens = None if arguments.all else arguments.token or [None]
    settings = Settings(tokens, timeout=arguments.timeout)
    requests = settings.tokens(tokens, decrypt=arguments.decrypt)
    with progress(len(requests), "checking" if arguments.online else "reading") as done:
        reports = verify_all(requests, done=done, online=arguments.online)
    preflight = _preflight(arguments.path, reports, settings) if arguments.deploy else None
    output_error = None
    try:
        _FORMATS[arguments.format](reports, preflight, datetime.now(UTC))
        sys.stdout.flush()
    except OSError as error:  # remarks still follow, and their exit status may be worse
        output_error = error
    if preflight or any(report.status != "ok" for report in reports):
        _show_remarks(reports, preflight)
    failed = worst([*(report.exit_code for report in reports), preflight.exit_code if preflight else 0])
    is_refused = arguments.strict and _has_warning(reports, preflight)
    code = worst([failed, PolicyError.exit_code]) if is_refused else failed
    if output_error is not None and worst([code, InputOutputError.exit_code]) != code:
        raise output_error
    if is_refused and not failed:
        return report_error("--strict does not accept warnings", "fix them, or omit --strict", code)
    return code


def _has_warning(reports: list[TokenReport], preflight: PreflightReport | None) -> bool:
    groups = [*(report.verdicts for report in reports), preflight.verdicts if preflight else ()]
    return any(verdict.level == "warning" for verdicts in groups for verdict in verdicts)


def _preflight(path: str | None, reports: list[TokenReport], settings: Settings) -> PreflightReport:
    """Run the pre-deploy check for the tokens that were read."""
    from pathlib import Path

    from astro_token.deploy import run_preflight
    from astro_token.deploy.destination import destination_of

    destinations = [
        destination_of(
            report.settings.name or str(report.settings.ref),
            report.token,
            report.settings.expected,
            online_workspace=report.online.workspace_id if report.online else None,
            has_table=report.settings.name is not None,
        )
        for report in reports
        if report.settings
    ]
    return run_preflight(Path(path or "."), destinations, settings.policy, lock=settings.project.astro_cli)


def _show_remarks(reports: list[TokenReport], preflight: PreflightReport | None) -> None:
    from astro_token.cli.remarks import of_token, of_verdicts, show_remarks

    for report in reports:
        show_remarks(of_token(report))
    if preflight:
        show_remarks(of_verdicts(preflight.verdicts, "deploy"))


def _json(reports: list[TokenReport], preflight: PreflightReport | None, now: datetime) -> None:
    from astro_token.cli.findings import describe_preflight, describe_token

    document: dict[str, object] = {"tokens": [describe_token(report, now) for report in reports]}
    if preflight:
        document["deploy"] = describe_preflight(preflight)
    print_json(document)


def _markdown(reports: list[TokenReport], preflight: PreflightReport | None, now: datetime) -> None:
    from astro_token.cli.markdown import add_summary, render

    text = render(reports, preflight, now)
    statuses = {*(report.status for report in reports), *([preflight.status] if preflight else [])}
    try:
        print(text, end="", flush=True)
    finally:
        status = next(status for status in ("failed", "warning", "ok") if status in statuses)
        add_summary(text, status, os.environ)


def _table(reports: list[TokenReport], preflight: PreflightReport | None, now: datetime) -> None:
    from astro_token.cli.findings import tabulate
    from astro_token.cli.table import show

    if has_table := len(reports) > 1 or reports[0].settings is not None:
        show(*tabulate(reports, now))
    if preflight:
        if has_table:
            print()
        # A row for each verdict: a list of codes would be too wide for a terminal.
        codes = [f"{verdict.level}: {verdict.code}" for verdict in preflight.verdicts] or ["ok"]
        paths = [str(preflight.path), *("" for _ in codes[1:])]
        show(("DEPLOY", "VERDICT"), list(zip(paths, codes, strict=True)))


_FORMATS = {"table": _table, "json": _json, "markdown": _markdown}
