"""`exec`: the token's way to a command, and to nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci.system import in_ci
from astro_token.cli import end_if_told
from astro_token.cli.output import report, warn
from astro_token.cli.parser import EXAMPLE
from astro_token.environment.checkout import refuse_clear_text
from astro_token.environment.export import export
from astro_token.errors import UnsupportedOperationError, UsageError
from astro_token.policy.rules import enforce
from astro_token.secrets.registry import close_backends
from astro_token.settings.resolve import resolve
from astro_token.tokens.read import checked

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
        raise UsageError("there is no command: it has to stand after --", hint=f"for example: {EXAMPLE}")
    if arguments.mask and arguments.no_isolate:
        raise UsageError(
            "--no-isolate leaves nobody who could mask the command's output",
            hint="leave --mask out, or --no-isolate",
        )
    if not hasattr(os, "posix_spawn"):
        raise UnsupportedOperationError(
            "exec needs a POSIX system", hint="use `astro-token export --format json` on this one"
        )
    from astro_token.child import run as child

    deploy = _deploy(command)
    refuse_clear_text(Path.cwd(), registry=deploy is None)
    settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    # Before a secret is read: a command that is not there needs none.
    program = child.find_command(command[0], os.environ)
    token, verdicts = checked(settings, online=arguments.online)
    enforce(verdicts, settings.ref)
    warn(verdicts, settings.ref)
    environment = export(token, workspace=settings.expected.workspace, keep=arguments.keep_env)
    close_backends()
    if deploy is not None and (code := _kept_from(deploy, token, settings)):
        return code
    end_if_told()
    if arguments.no_isolate:
        child.replace_process(program, command, environment.applied(os.environ), limits)
    from astro_token.environment.private_home import private_home

    outputs = None
    # What is read at run time is unknown to every CI system's own masking, whatever it has.
    if in_ci(os.environ) if arguments.mask is None else arguments.mask:
        from astro_token.masker import forms
        from astro_token.masker.outputs import Outputs

        outputs = Outputs(forms(token.secret.reveal()))
    with private_home(environment.context, os.environ) as home:
        end_if_told()
        return child.run(
            program,
            command,
            environment.applied(os.environ, home=str(home.path)),
            limits,
            started=home.used_by,
            outputs=outputs,
        )


def _deploy(command: Sequence[str]) -> Deploy | None:
    """None where the command is not `astro deploy`; for others nothing is imported."""
    if os.path.basename(command[0]) != "astro" or "deploy" not in command:  # noqa: PTH119
        return None
    from astro_token.deploy.command import deploy_of

    return deploy_of(command[1:])


def _kept_from(deploy: Deploy, token: AstroToken, settings: TokenSettings) -> int:
    """Says what would spoil the deploy; the status where policy keeps it from being started, else 0."""
    from astro_token.deploy import before_deploy
    from astro_token.deploy.destination import destination_of
    from astro_token.policy.deploy_codes import CODES

    expected = destination_of(settings.name or str(settings.ref), token, settings.expected)
    preflight = before_deploy(deploy, Path(), expected, settings.policy)
    if preflight is None:
        return 0
    for verdict in preflight.verdicts:
        if verdict.level == "error":
            report(f"deploy: {verdict.message}", verdict.hint, CODES[verdict.code].kind.exit_code)
    warn(preflight.verdicts, "deploy")
    return preflight.exit_code
