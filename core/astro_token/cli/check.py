"""`check`: verify tokens and show what they are for."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.cli.output import print_json
from astro_token.cli.progress import progress
from astro_token.errors import InputOutputError, UsageError, worst
from astro_token.settings.resolve import Settings
from astro_token.tokens.read_many import verify_all

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.cli.deploy import PreflightView
    from astro_token.tokens.read_many import TokenReport


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give --all or tokens")
    if arguments.path is not None and not arguments.deploy:
        raise UsageError("--path requires --deploy", hint="add --deploy, or leave --path out")
    settings = Settings(timeout=arguments.timeout)
    tokens = None if arguments.all else arguments.token or [None]
    requests = settings.tokens(tokens, decrypt=arguments.decrypt)
    with progress(len(requests), "checking" if arguments.online else "reading") as done:
        reports = verify_all(requests, done=done, online=arguments.online)
    project = _deploy(arguments.path, reports, settings) if arguments.deploy else None
    output_error = _show(arguments.format, reports, project)
    if project or any(report.status != "ok" for report in reports):
        _tell(reports, project)
    code = worst([*(report.exit_code for report in reports), project.exit_code if project else 0])
    if output_error is not None and worst([code, InputOutputError.exit_code]) != code:
        raise output_error
    return code


def _show(form: str, reports: list[TokenReport], project: PreflightView | None) -> OSError | None:
    """Print the result. Return a failure, because the remarks are still due and their status may be worse."""
    try:
        _FORMATS[form](reports, project, datetime.now(UTC))
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _tell(reports: list[TokenReport], project: PreflightView | None) -> None:
    from astro_token.cli.annotations import tell
    from astro_token.cli.remarks import of_token

    for report in reports:
        tell(of_token(report))
    if project:
        tell(project.remarks())


def _deploy(path: str | None, reports: list[TokenReport], settings: Settings) -> PreflightView:
    from astro_token.cli.deploy import examine

    return examine(path, reports, settings)


def _json(reports: list[TokenReport], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.findings import described

    shown = {"deploy": project.json()} if project else {}
    print_json({"tokens": [described(report, now) for report in reports], **shown})


def _markdown(reports: list[TokenReport], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.markdown import render
    from astro_token.cli.summary import add

    text = render(reports, project.report if project else None, now)
    statuses = {*(report.status for report in reports), *([project.report.status] if project else [])}
    try:
        print(text, end="", flush=True)
    finally:
        add(text, next(status for status in ("failed", "warning", "ok") if status in statuses), os.environ)


def _table(reports: list[TokenReport], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.findings import tabled
    from astro_token.cli.table import show

    has_table = len(reports) > 1 or reports[0].settings is not None
    if has_table:
        show(*tabled(reports, now))
    if has_table and project:
        print()
    if project:
        project.table()


_FORMATS = {"table": _table, "json": _json, "markdown": _markdown}
