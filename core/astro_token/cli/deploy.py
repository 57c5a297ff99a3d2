"""`check --deploy`: what is said of the project, after what is said of the tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from astro_token.cli.findings import one_line
from astro_token.cli.remarks import of_verdicts
from astro_token.deploy import Guarded, guard
from astro_token.deploy.target import target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astro_token.cli.remarks import Remark
    from astro_token.settings.resolve import Settings
    from astro_token.tokens.read_many import TokenReport

__all__ = ["Shown", "guarded"]


class Shown(NamedTuple):
    guarded: Guarded

    @property
    def exit_code(self) -> int:
        return self.guarded.exit_code

    def json(self) -> dict[str, Any]:
        return {
            "path": str(self.guarded.path),
            "status": self.guarded.status,
            "exit_code": self.guarded.exit_code,
            "verdicts": [
                {
                    "code": one.code,
                    "level": one.level,
                    "message": one_line(one.message),
                    "hint": one_line(one.hint),
                }
                for one in self.guarded.verdicts
            ],
        }

    def table(self) -> None:
        """A row for each finding: a list of codes would be too wide for a terminal."""
        from astro_token.cli.table import show

        lines = [f"{one.level}: {one.code}" for one in self.guarded.verdicts] or ["ok"]
        show(
            ("DEPLOY", "VERDICT"),
            [("" if n else str(self.guarded.path), line) for n, line in enumerate(lines)],
        )

    def remarks(self) -> list[Remark]:
        return of_verdicts(self.guarded.verdicts, "deploy")


def guarded(path: str | None, findings: Sequence[TokenReport], settings: Settings) -> Shown:
    """Check the project before a deploy of the tokens that were checked."""
    targets = [
        target(
            one.settings.name or str(one.settings.ref),
            one.token,
            one.settings.expected,
            found=one.online.workspace_id if one.online else None,
        )
        for one in findings
        if one.settings
    ]
    return Shown(guard(Path(path or "."), targets, settings.policy, lock=settings.project.astro_cli))
