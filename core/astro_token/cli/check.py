"""`check`: what tokens are, and whether they can be used."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from astro_token.cli.output import print_json
from astro_token.cli.progress import progress
from astro_token.errors import InputOutputError, UsageError, worst
from astro_token.settings.resolve import resolve_several
from astro_token.tokens.read_many import find_all

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.cli.deploy import PreflightView
    from astro_token.tokens.read_many import Finding


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.all and arguments.token:
        raise UsageError("--all and a token are both given", hint="give one or the other")
    if arguments.path is not None and not arguments.deploy:
        raise UsageError("--path is given without --deploy", hint="give both, or neither")
    wanted = resolve_several(
        None if arguments.all else arguments.token or [None],
        decrypt=arguments.decrypt,
        timeout=arguments.timeout,
    )
    with progress(len(wanted), "checking" if arguments.online else "reading") as done:
        findings = find_all(wanted, done=done, online=arguments.online)
    project = _deploy(arguments.path, findings) if arguments.deploy else None
    lost = _shown(arguments.format, findings, project)
    if project or any(finding.status != "ok" for finding in findings):
        _tell(findings, project)
    code = worst([*(finding.exit_code for finding in findings), project.exit_code if project else 0])
    if lost is not None and worst([code, InputOutputError.exit_code]) != code:
        raise lost
    return code


def _shown(form: str, findings: list[Finding], project: PreflightView | None) -> OSError | None:
    """What kept it from being shown: all else is told nevertheless, and may be worse."""
    try:
        _SHOW[form](findings, project, datetime.now(UTC))
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _tell(findings: list[Finding], project: PreflightView | None) -> None:
    from astro_token.cli.annotations import tell
    from astro_token.cli.remarks import of_token

    for finding in findings:
        tell(of_token(finding))
    if project:
        tell(project.remarks())


def _deploy(path: str | None, findings: list[Finding]) -> PreflightView:
    from astro_token.cli.deploy import examine

    return examine(path, findings)


def _json(findings: list[Finding], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.findings import described

    shown = {"deploy": project.json()} if project else {}
    print_json({"tokens": [described(finding, now) for finding in findings], **shown})


def _markdown(findings: list[Finding], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.markdown import render
    from astro_token.cli.summary import add

    text = render(findings, project.report if project else None, now)
    statuses = {*(finding.status for finding in findings), *([project.report.status] if project else [])}
    try:
        print(text, end="", flush=True)
    finally:
        add(text, next(one for one in ("failed", "warning", "ok") if one in statuses), os.environ)


def _table(findings: list[Finding], project: PreflightView | None, now: datetime) -> None:
    from astro_token.cli.findings import tabled
    from astro_token.cli.table import show

    known = len(findings) > 1 or findings[0].settings is not None
    if known:
        show(*tabled(findings, now))
    if known and project:
        print()
    if project:
        project.table()


_SHOW = {"table": _table, "json": _json, "markdown": _markdown}
