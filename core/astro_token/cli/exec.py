"""`exec`: run a command with the token in its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci import in_ci
from astro_token.cli import end_if_signalled
from astro_token.cli.output import report, warn
from astro_token.cli.parser import EXAMPLE
from astro_token.environment.cli_config import refuse_unsafe
from astro_token.environment.export import export
from astro_token.errors import ConfigError, UnsupportedOperationError, UsageError
from astro_token.policy.rules import enforce
from astro_token.secrets.registry import close_backends
from astro_token.settings.resolve import resolve
from astro_token.system.os_errors import working_folder
from astro_token.tokens.read import read_and_verify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from astro_token.child.hardening import SavedLimits
    from astro_token.deploy.command import Deploy
    from astro_token.settings.resolve import TokenSettings
    from astro_token.token import AstroToken


def run(arguments: argparse.Namespace, limits: SavedLimits) -> int:
    command = arguments.child
    if not command:
        raise UsageError("exec requires a command after --", hint=f"for example: {EXAMPLE}")
    if arguments.mask and arguments.no_isolate:
        raise UsageError(
            "--mask and --no-isolate exclude each other",
            hint="leave one of them out: with --no-isolate no process remains to mask the output",
        )
    if not hasattr(os, "posix_spawn"):
        raise UnsupportedOperationError(
            "exec requires a POSIX system", hint="use `astro-token export --format json` on this system"
        )
    from astro_token.child import run as child

    deploy = _deploy(command)
    settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    refuse_unsafe(
        Path(working_folder()),
        os.environ,
        # The check of a deploy warns by itself.
        registry=deploy is None or settings.policy.registries is not None,
        registries=settings.policy.registries,
        home=arguments.no_isolate,
    )
    if settings.policy.cli_lock and _is_astro(command):
        _refuse_unlocked(settings)
    # Before the secret is read: a missing command needs no token.
    program = child.find_command(command[0], os.environ)
    token, verdicts = read_and_verify(settings, online=arguments.online)
    enforce(verdicts, token.ref)
    warn(verdicts, token.ref)
    environment = export(token, workspace=settings.expected.workspace, keep=arguments.keep_env)
    close_backends()
    if deploy is not None and (code := _refuse_deploy(deploy, token, settings)):
        return code
    end_if_signalled()
    if arguments.no_isolate:
        child.replace_process(program, command, environment.applied(os.environ), limits)
    from astro_token.environment.private_home import private_home

    outputs = None
    # CI systems mask only the secrets that they store themselves.
    if in_ci(os.environ) if arguments.mask is None else arguments.mask:
        from astro_token.masker.outputs import Outputs

        outputs = Outputs(token.secret.reveal())
    with private_home(environment.context, os.environ) as home:
        environ = environment.applied(os.environ, home=str(home.path))
        if withheld := {*environment.set, *environment.unset, *environment.drop}.intersection(os.environ):
            from astro_token.child.initial_environment import withdraw

            withdraw(withheld)
        end_if_signalled()
        return child.run(
            program,
            command,
            environ,
            limits,
            started=home.used_by,
            outputs=outputs,
        )


def _deploy(command: Sequence[str]) -> Deploy | None:
    """Parse an `astro deploy` command. For other commands return None, and import nothing."""
    if not _is_astro(command) or "deploy" not in command:
        return None
    from astro_token.deploy.command import deploy_of

    return deploy_of(command[1:])


def _is_astro(command: Sequence[str]) -> bool:
    return os.path.basename(command[0]) == "astro"  # noqa: PTH119


def _refuse_unlocked(settings: TokenSettings) -> None:
    from astro_token.settings.astro_cli_pin import findings

    for finding in findings(settings.astro_cli, settings.policy):
        raise ConfigError(finding.message, hint=finding.hint)


def _refuse_deploy(deploy: Deploy, token: AstroToken, settings: TokenSettings) -> int:
    """Report problems of the deploy. Return the exit status if policy forbids to start it, else 0."""
    from astro_token.deploy import before_deploy
    from astro_token.deploy.destination import destination_of
    from astro_token.policy.codes import DEPLOY

    expected = destination_of(settings.name or str(token.ref), token, settings.expected)
    preflight = before_deploy(
        deploy,
        Path(),
        expected,
        settings.policy,
        lock=settings.astro_cli,
        can_ask=sys.stdin is not None and sys.stdin.isatty(),
    )
    for verdict in preflight.verdicts:
        if verdict.level == "error":
            report(f"deploy: {verdict.message}", verdict.hint, DEPLOY[verdict.code].exit_code)
    warn(preflight.verdicts, "deploy")
    return preflight.exit_code
