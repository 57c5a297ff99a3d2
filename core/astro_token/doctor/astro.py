"""Check the Astro CLI and Astro's API."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.doctor.connectivity import probe
from astro_token.errors import ConfigError, PolicyError
from astro_token.tokens.steps import API, walk
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astro_token.doctor.report import Report
    from astro_token.settings.resolve import Settings, TokenSettings
    from astro_token.token import AstroToken
    from astro_token.tokens.steps import Observer, TokenPath

__all__ = ["check_api", "check_program"]

# No variable and no setting of 2.0 turns its use of the keyring off.
_KEYRING = (
    "; it keeps logins in the keyring, which ASTRO_HOME does not isolate, but the token takes precedence"
)


def check_program(
    report: Report,
    environ: Mapping[str, str],
    shared: Settings | None,
    settings: TokenSettings | None,
    token: AstroToken | None,
) -> None:
    """
    Check the `astro` on PATH. Its faults are warnings: the token may be for a program without the CLI.

    Args:
        shared: the settings of all tokens; None if they cannot be read.
    """
    from astro_token.deploy.destination import destination_of
    from astro_token.deploy.programs import examine_astro
    from astro_token.deploy.project_layout import major_of
    from astro_token.deploy.settings import telemetry
    from astro_token.settings.astro_cli_pin import findings

    folder = None
    with suppress(OSError):  # the working folder may have been removed
        folder = Path.cwd()
    if folder is not None:
        _check_config(report, folder, environ, shared.policy.registries if shared else None)
    lock = shared.project.astro_cli if shared else None
    destinations = [destination_of(str(settings.ref), token, settings.expected)] if settings else []
    cli = examine_astro(folder, environ, lock, destinations)
    required = findings(lock, shared.policy) if shared else ()
    for finding in (*cli.findings, *required, *telemetry(environ)):
        report.add("astro", "warning", f"{finding.code}: {finding.message}", finding.hint)
    if not cli.findings:
        keyring = "" if major_of(cli.version) in {1, None} else _KEYRING
        report.add("astro", "ok", f"{cli.version}, {cli.path}{keyring}")


def _check_config(
    report: Report, folder: Path, environ: Mapping[str, str], registries: Sequence[Sequence[str]] | None
) -> None:
    """Check the project's configuration of the CLI: with an unsafe one, `exec` starts no command there."""
    from astro_token.environment.cli_config import (
        CONFIG_FILE,
        manifest_problems_above,
        problems_of,
        registry_problems,
    )

    try:
        config, problems = problems_of(folder / CONFIG_FILE, environ)
        problems += manifest_problems_above(folder, environ)
    except ConfigError as error:  # about ASTRO_TOKEN_CLI_KEYS
        report.fail("astro", error)
        return
    for problem in problems:
        report.fail("astro", ConfigError(problem.message, hint=problem.hint))
    for problem in registry_problems(folder, config, registries):
        if registries is not None:
            report.fail("astro", PolicyError(problem.message, hint=problem.hint))
        else:
            report.add("astro", "warning", problem.message, problem.hint)


def check_api(
    report: Report, path: TokenPath | None, observer: Observer, environ: Mapping[str, str], seconds: float
) -> None:
    """
    Check that Astro's API can be reached and that Astro accepts the token.

    Args:
        seconds: the time limit of each of the two checks.
    """
    from astro_token.astro_api import AstroApi
    from astro_token.astro_api.address import api_route

    def check() -> tuple[bool, str]:
        return True, probe(api_route(environ), Deadline(seconds))

    if not report.run("api", check):
        return
    if path is None or path.token is None:
        report.skip("api", why="there is no token to check with Astro")
        return
    with AstroApi(environ) as path.api:
        path.deadline = Deadline(seconds, attempts=1)
        walk(path, API, observer)
