"""`doctor`: check every step from the settings to Astro."""

from __future__ import annotations

import platform
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from astro_token.cli.output import harmless, print_json
from astro_token.cli.output import report as report_error
from astro_token.doctor import examine
from astro_token.system.programs import settle_platform
from astro_token.version import __version__

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.doctor import Check, Report
    from astro_token.settings.resolve import TokenSettings


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    settings, report = examine(
        arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout, offline=arguments.offline
    )
    if arguments.format == "json":
        print_json(_document(settings, report))
    else:
        for check in report.checks:
            _show(check)
    failed = list(dict.fromkeys(check.name for check in report.checks if check.state == "failed"))
    if not failed:
        return report.exit_code
    count, first = ("1 check", "it") if len(failed) == 1 else (f"{len(failed)} checks", f"{failed[0]} first")
    return report_error(
        f"{count} failed: {', '.join(failed)}", f"fix {first} and run doctor again", report.exit_code
    )


def _show(check: Check) -> None:
    """Print a check, folded on a terminal only: elsewhere people search the output."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    head = f"{check.state:13}{check.name:16}"
    lines = [harmless(check.detail), *([f"hint: {harmless(check.hint)}"] if check.hint else [])]
    for line in lines:
        folded = textwrap.wrap(line, width - len(head), break_on_hyphens=False) if width > 60 else [line]  # noqa: PLR2004
        for piece in folded or [""]:
            print(f"{head}{piece}".rstrip())
            head = " " * len(head)


def _document(settings: TokenSettings | None, report: Report) -> dict[str, Any]:
    settle_platform()
    return {
        "astro_token": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "name": settings.name if settings else None,
        "ref": str(settings.ref) if settings else None,
        "decrypt": str(settings.decrypt) if settings and settings.decrypt else None,
        "exit_code": report.exit_code,
        "links": [
            {
                "link": check.name,
                "state": check.state,
                "found": check.detail,
                "hint": check.hint,
                "exit_code": check.exit_code,
            }
            for check in report.checks
        ],
    }
