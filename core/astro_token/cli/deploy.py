"""Show the verdicts on a deploy, for `check --deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_token.cli.findings import one_line
from astro_token.cli.remarks import of_verdicts
from astro_token.deploy import PreflightReport, run_preflight
from astro_token.deploy.destination import destination_of
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astro_token.cli.remarks import Remark
    from astro_token.settings.resolve import Settings
    from astro_token.tokens.read_many import TokenReport

__all__ = ["PreflightView", "examine"]


class PreflightView(Record):
    report: PreflightReport

    @property
    def exit_code(self) -> int:
        return self.report.exit_code

    def json(self) -> dict[str, Any]:
        return {
            "path": str(self.report.path),
            "status": self.report.status,
            "exit_code": self.report.exit_code,
            "verdicts": [
                {
                    "code": verdict.code,
                    "level": verdict.level,
                    "message": one_line(verdict.message),
                    "hint": one_line(verdict.hint),
                }
                for verdict in self.report.verdicts
            ],
        }

    def table(self) -> None:
        """Print a row for each verdict: a list of codes would be too wide for a terminal."""
        from astro_token.cli.table import show

        lines = [f"{verdict.level}: {verdict.code}" for verdict in self.report.verdicts] or ["ok"]
        show(
            ("DEPLOY", "VERDICT"),
            [("" if n else str(self.report.path), line) for n, line in enumerate(lines)],
        )

    def remarks(self) -> list[Remark]:
        return of_verdicts(self.report.verdicts, "deploy")


def examine(path: str | None, reports: Sequence[TokenReport], settings: Settings) -> PreflightView:
    """Run the pre-deploy check for the tokens that were read."""
    destinations = [
        destination_of(
            report.settings.name or str(report.settings.ref),
            report.token,
            report.settings.expected,
            online_workspace=report.online.workspace_id if report.online else None,
        )
        for report in reports
        if report.settings
    ]
    lock = settings.project.astro_cli
    return PreflightView(run_preflight(Path(path or "."), destinations, settings.policy, lock=lock))
