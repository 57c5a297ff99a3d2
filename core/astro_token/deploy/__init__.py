"""
The pre-deploy check: reasons for which `astro deploy` would fail late, deploy the wrong thing, or do nothing.

    project_layout   settings         repository   destination    cli_home        programs
    the folder       .astro/config    git          of the deploy  and variables   astro, docker
                                         │
                                         ▼
                     findings ── codes, policy ──> verdicts

All checks are offline and read only: nothing is written to the project's folder, and no program in it is run.
Messages repeat only identifiers from a file's content.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.deploy import project_layout, repository, settings
from astro_token.deploy.destination import Target, command_findings, target_findings, workspace_findings
from astro_token.deploy.project_layout import layout_of
from astro_token.environment.cli_config import CONFIG_FILE
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
    from astro_token.deploy.project_layout import Layout
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
    layout = layout_of(folder, environ)
    astro = programs.examine_astro(folder, environ, lock, destinations)
    major = layout.major(astro.version)
    target = _target(None, path, environ, layout, astro.version)
    findings = [*project_layout.findings(folder, path, environ, layout, major)]
    if layout.majors:
        findings += [
            *settings.findings(folder, path, environ, registries=policy.registries),
            *settings.manifest_findings(layout.manifest, path, environ),
            *target_findings(destinations, target),
            *(repository.findings(folder, environ) if major in DEPLOY["uncommitted"].majors else ()),
        ]
    findings += [
        *workspace_findings(destinations, target),
        *settings.telemetry(environ),
        *cli_home.findings(folder, environ, destinations),
        *programs.findings(astro, environ),
        *astro_cli_pin.findings(lock, policy),
    ]
    exported = bool(environ.get(TOKEN_VARIABLE))
    return PreflightReport(path, verdicts(findings, policy, major=major, exported=exported))


def before_deploy(
    deploy: Deploy,
    path: Path,
    expected: Destination,
    policy: Policy,
    *,
    lock: Lock | None = None,
    environ: Mapping[str, str] | None = None,
    can_ask: bool = True,
) -> PreflightReport:
    """
    Run the cheap part of the check, right before `exec` starts `astro deploy` in a folder.

    `exec` gives the CLI a home of its own, so the user's is not examined. Only git is started, and
    `astro version` in a project to both major versions.
    A deploy to another deployment than the expected one is an error, in any folder.
    All other findings are warnings, which stop nothing, unless policy makes one an error.
    Outside a project, the Astro CLI reports the rest itself.

    Args:
        lock: the pinned release of the Astro CLI, which stands for one whose version is not known.
        can_ask: the command has a terminal.
    """
    environ = os.environ if environ is None else environ
    folder = path.absolute()
    layout = layout_of(folder, environ)
    version = lock.version if lock else None
    if len(layout.majors) > 1:
        from astro_token.deploy.programs import examine_astro

        version = examine_astro(folder, environ, None, []).version or version
    target = _target(deploy, path, environ, layout, version, can_ask=can_ask)
    suppressed = deploy.suppressed(target.major)
    findings = [*target_findings([expected], target)]
    if layout.majors or version:  # else nothing tells which version will run
        findings += command_findings(target)
    if layout.majors and not deploy.is_outside:
        findings = [
            *project_layout.findings(folder, path, environ, layout, target.major, dags=deploy.dags or "dags"),
            *settings.findings(folder, path, environ, registries=policy.registries),
            *settings.manifest_findings(layout.manifest, path, environ),
            *findings,
            *workspace_findings([expected], target),
        ]
        off = {code for code, level in policy.deploy.items() if level == "off"}
        git = {code for code in ("uncommitted", "git-unknown") if target.major in DEPLOY[code].majors}
        if git - off - suppressed:
            findings += repository.findings(folder, environ)
    remaining = [finding for finding in findings if finding.code not in suppressed]
    return PreflightReport(path, verdicts(remaining, policy, major=target.major, advice=True))


def _target(
    deploy: Deploy | None,
    path: Path,
    environ: Mapping[str, str],
    layout: Layout,
    version: str | None,
    *,
    can_ask: bool = True,
) -> Target:
    """Find out where a deploy from a folder would go, with this version of the Astro CLI."""
    major = layout.major(version)
    is_read = major == 1 and 1 in layout.majors
    configured = settings.configured_deployment(path.absolute(), environ) if is_read else None
    return Target(deploy, layout.target_manifest(version), configured, path / CONFIG_FILE, major, can_ask)
