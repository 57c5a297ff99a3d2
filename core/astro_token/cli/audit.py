"""`audit`: compare every API token of the organization with policy."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from astro_token.cli.audit_report import totals
from astro_token.cli.lifecycle import LIFECYCLE_SECONDS
from astro_token.cli.output import json_text, note, output_path, refuse_output
from astro_token.cli.output import report as report_error
from astro_token.cli.progress import progress
from astro_token.errors import PolicyError
from astro_token.lifecycle.admin import no_admin, read_admin
from astro_token.lifecycle.inventory import configured, take_audit
from astro_token.settings.resolve import Settings
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from astro_token.child.hardening import SavedLimits
    from astro_token.lifecycle.audit import Audit


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    output = output_path(arguments.output)
    if output is not None:
        refuse_output(arguments.output, force=arguments.force)
    settings = Settings(timeout=arguments.timeout, default_timeout=LIFECYCLE_SECONDS)
    deadline = Deadline(settings.timeout)
    admin = read_admin(settings.environ, arguments.admin, settings.timeout)
    if admin is None:
        raise no_admin("list the tokens of an organization")
    requests = configured(settings)
    with progress(len(requests), "reading") as done:
        audit = take_audit(admin, settings, requests, deadline, done=done)
    if output is not None:
        _write(output, _text(audit, arguments.format), force=arguments.force)
        note(f"wrote {output}")
    elif arguments.format == "table":
        _show(audit)
    else:
        _print(_text(audit, arguments.format), audit, arguments.format)
    _remark(audit, has_configurations=bool(requests))
    if arguments.strict and audit.codes:
        findings = sum(audit.codes.values())
        return report_error(
            f"--strict does not accept findings, and there {'is 1' if findings == 1 else f'are {findings}'}",
            "act on them, or omit --strict",
            PolicyError.exit_code,
        )
    return 0


def _text(audit: Audit, form: str) -> str:
    """Render the report. Each form has its module, or function, and only that one is imported."""
    from astro_token.cli import audit_report

    if form == "json":
        return json_text(audit_report.document(audit)) + "\n"
    if form == "html":
        return str(import_module("astro_token.cli.audit_html").render(audit))
    if form == "table":
        from astro_token.cli.table import laid_out, unstyled

        tables = [laid_out(head, rows, blocks, None) for head, rows, blocks in audit_report.tables(audit)]
        return "\n\n".join(map(unstyled, tables)) + "\n"
    return {"csv": audit_report.csv_text, "markdown": audit_report.markdown}[form](audit)


def _show(audit: Audit) -> None:
    from astro_token.cli.audit_report import tables
    from astro_token.cli.table import show

    for number, table in enumerate(tables(audit)):
        if number:
            print()
        show(*table)
    sys.stdout.flush()


def _print(text: str, audit: Audit, form: str) -> None:
    try:
        print(text, end="", flush=True)
    finally:
        if form == "markdown":
            from astro_token.cli.markdown import add_summary

            add_summary(text, {"error": "failed"}.get(audit.status, audit.status), os.environ)


def _write(path: Path, text: str, *, force: bool) -> None:
    from astro_token.system.files import create, replace

    (replace if force else create)(path, text.encode())


def _remark(audit: Audit, *, has_configurations: bool) -> None:
    note(totals(audit, audit.organization))
    if not has_configurations:
        note("no token is configured here, so tokens that no configuration holds are not reported")
    elif not audit.is_complete:
        note("a configured token is not known, so tokens that no configuration holds are not reported")
