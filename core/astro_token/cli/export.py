"""`export`: the token in a format that a shell or a CI system reads."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci.formats import render
from astro_token.cli.export_plan import plan_export
from astro_token.cli.output import note, warn
from astro_token.environment.cli_config import warn_unsafe
from astro_token.environment.export import export
from astro_token.errors import OutputError, UsageError
from astro_token.formats.delivery import deliver
from astro_token.formats.rendering import File, Program, Variables
from astro_token.policy.rules import enforce
from astro_token.settings.resolve import resolve
from astro_token.tokens.read import read_and_verify

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.cli.export_plan import ExportPlan
    from astro_token.environment.export import CliEnvironment
    from astro_token.formats.rendering import Rendering


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.output in {"", "-"}:  # an empty variable does not choose standard output
        raise UsageError("--output names no file", hint="give the path of a file, or leave --output out")
    output = Path(arguments.output).absolute() if arguments.output else None
    settings = None
    if arguments.token or not arguments.explain:  # --explain works without any settings
        settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    plan = plan_export(
        arguments.format,
        os.environ,
        terminal=sys.stderr.isatty(),
        token=arguments.token,
        file=arguments.output,
    )
    if settings is None or arguments.explain:
        from astro_token.cli.explain import explain

        explain(plan, output)
        _refuse_output(plan, arguments.output, force=arguments.force)
        return 0
    # Before a secret is read: without a destination none is needed.
    expected = plan.dry_run()
    _refuse_output(plan, arguments.output, force=arguments.force)
    if expected.to == "output" and output is None:
        _refuse_log(plan, expected)
    warn_unsafe(Path.cwd(), os.environ)
    token, verdicts = read_and_verify(settings)
    enforce(verdicts, settings.ref)
    warn(verdicts, settings.ref)
    rendering = render(plan.format_name, _variables(export(token), plan.log))
    for notice in plan.notices():
        note(notice)
    deliver(rendering, os.environ, output, force=arguments.force)
    if isinstance(rendering.to, File | Program):
        note(rendering.then)
    return 0


def _variables(environment: CliEnvironment, log: str | None) -> Variables:
    return Variables(
        set={name: secret.reveal().decode("ascii") for name, secret in environment.set.items()},
        unset=tuple(sorted(name for name in environment.unset if name in os.environ)),
        environ=os.environ,
        log=log,
        public=environment.public,
    )


def _refuse_output(plan: ExportPlan, output: str | None, *, force: bool) -> None:
    if output is None:
        return
    if plan.format.exclusive:
        raise UsageError(f"the {plan.format_name} format has its own destination", hint="omit --output")
    from astro_token.system.files import refuse_special

    path = Path(output)
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent} is not a folder", hint="create the folder first")
    refuse_special(path)
    if path.exists() and not force:
        raise OutputError(f"{path} exists", hint="remove it, or give --force to replace it")


def _refuse_log(plan: ExportPlan, expected: Rendering) -> None:
    """
    Refuse to print for nobody.

    Raises:
        OutputError: standard output is a terminal, or a log that does not hide the token.
    """
    where = None
    if sys.stdout.isatty():
        where = "a terminal"
    elif not plan.format.exclusive and plan.notices() and _is_log():
        where = "the log"
    if where:
        instead = expected.then if plan.format.evaluated else "write it to a file by --output"
        raise OutputError(
            f"standard output is {where}, which would show the token", hint=f"use exec, or {instead}"
        )


def _is_log() -> bool:
    """True if standard output and standard error are the same file. A log can also be two files."""
    return os.name == "posix" and os.path.sameopenfile(1, 2) and not stat.S_ISCHR(os.fstat(1).st_mode)
