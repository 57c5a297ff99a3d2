"""
The pre-deploy check: reasons for which `astro deploy` would fail late, deploy the wrong thing, or do nothing.

    project_layout   settings         repository   destination    cli_home        programs
    the folder       .astro/config    git          of the tokens  and variables   astro, docker
                                         │
                                         ▼
                     findings ── codes, policy ──> verdicts

All checks are offline and read only: nothing is written to the project's folder, and no program in it is run.
Messages repeat only identifiers from a file's content.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.deploy import destination, project_layout, repository, settings
from astro_token.environment.export import TOKEN_VARIABLE
from astro_token.errors import worst
from astro_token.policy.codes import DEPLOY
from astro_token.policy.deploy_codes import verdicts
from astro_token.record import Record
from astro_token.settings import astro_cli_pin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astro_token.deploy.command import Deploy
    from astro_token.deploy.destination import Destination
    from astro_token.policy.rules import Policy, Verdict
    from astro_token.settings.astro_cli_pin import Lock

__all__ = ["PreflightReport", "before_deploy", "run_preflight"]


class PreflightReport(Record):
    """
    The verdicts on a deploy from a folder.

    Attributes:
        path: the folder, as the user named it.
        verdicts: errors first.
    """

    path: Path
    verdicts: tuple[Verdict, ...]

    @property
    def status(self) -> str:
        return "failed" if self.exit_code else "warning" if self.verdicts else "ok"

    @property
    def exit_code(self) -> int:
        return worst(DEPLOY[verdict.code].exit_code for verdict in self.verdicts if verdict.level == "error")


def run_preflight(
    path: Path,
    destinations: Sequence[Destination],
    policy: Policy,
    *,
    lock: Lock | None = None,
    environ: Mapping[str, str] | None = None,
) -> PreflightReport:
    """
    Examine a project before it is deployed.

    Args:
        destinations: of the tokens to deploy with.
        lock: the pinned release of the Astro CLI.
    """
    from astro_token.deploy import cli_home, programs

    environ = os.environ if environ is None else environ
    folder = path.absolute()
    findings = [*project_layout.findings(folder, path, environ)]
    if project_layout.is_project(folder, environ):
        findings += [
            *settings.findings(folder, path, environ, destinations, registries=policy.registries),
            *repository.findings(folder, environ),
        ]
    findings += [
        *destination.findings(destinations),
        *settings.telemetry(environ),
        *cli_home.findings(folder, environ, destinations),
        *programs.findings(folder, environ, lock, destinations),
        *astro_cli_pin.findings(lock, policy),
    ]
    exported = bool(environ.get(TOKEN_VARIABLE))
    return PreflightReport(path, verdicts(findings, policy, exported=exported))


def before_deploy(
    deploy: Deploy,
    path: Path,
    expected: Destination,
    policy: Policy,
    *,
    environ: Mapping[str, str] | None = None,
) -> PreflightReport | None:
    """
    Run the cheap part of the check, right before `exec` starts `astro deploy` in a folder.

    `exec` gives the CLI a home of its own, so the user's is not examined. Only git is started.
    A deploy to another deployment than the expected one is an error.
    All other findings are warnings, which stop nothing, unless policy makes one an error.

    Returns:
        None if the folder is not a project, which the Astro CLI reports itself.
    """
    environ = os.environ if environ is None else environ
    folder = path.absolute()
    if not project_layout.is_project(folder, environ):
        return None
    off = {code for code, level in policy.deploy.items() if level == "off"}
    findings = [
        *project_layout.findings(folder, path, environ, dags=deploy.dags or "dags"),
        *settings.findings(
            folder, path, environ, [expected], named=deploy.deployment, registries=policy.registries
        ),
        *destination.findings([expected], workspace_option=deploy.workspace),
    ]
    if not off | deploy.suppressed >= {"uncommitted", "git-unknown"}:
        findings += repository.findings(folder, environ)
    remaining = [finding for finding in findings if finding.code not in deploy.suppressed]
    return PreflightReport(path, verdicts(remaining, policy, advice=True))
