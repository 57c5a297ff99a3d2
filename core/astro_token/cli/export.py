"""`export`: print or store the token in a format that a shell or a CI system reads."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci.formats import render
from astro_token.cli.export_plan import ExportPlan
from astro_token.cli.output import harmless, note, output_path, refuse_output, warn
from astro_token.environment.cli_config import warn_unsafe
from astro_token.environment.export import export
from astro_token.errors import OutputError, UsageError
from astro_token.formats.delivery import deliver, describe_destination
from astro_token.formats.rendering import File, Program, Variables
from astro_token.policy.rules import enforce
from astro_token.settings.resolve import resolve
from astro_token.system.os_errors import working_folder
from astro_token.tokens.read import read_and_verify

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.formats.rendering import Rendering


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    output = output_path(arguments.output)
    settings = None
    if arguments.token or not arguments.explain:  # --explain works without any settings
        settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    plan = ExportPlan(
        arguments.format,
        os.environ,
        terminal=sys.stderr.isatty(),
        token=arguments.token,
        file=arguments.output,
    )
    if settings is None or arguments.explain:
        _explain(plan, output)
        _refuse_output(plan, arguments.output, force=arguments.force)
        return 0
    # Before the secret is read: without a destination it is not needed.
    expected = plan.dry_run()
    _refuse_output(plan, arguments.output, force=arguments.force)
    if expected.to == "output" and output is None:
        _refuse_log(plan, expected)
    warn_unsafe(Path(working_folder()), os.environ, settings.policy.registries)
    token, verdicts = read_and_verify(settings)
    enforce(verdicts, token.ref)
    warn(verdicts, token.ref)
    environment = export(token)
    variables = Variables(
        set={name: secret.reveal().decode("ascii") for name, secret in environment.set.items()},
        unset=tuple(sorted(name for name in environment.unset if name in os.environ)),
        environ=os.environ,
        log=plan.log,
        public=environment.public,
    )
    rendering = render(plan.format_name, variables)
    for notice in plan.notices():
        note(notice)
    deliver(rendering, os.environ, output, force=arguments.force)
    if isinstance(rendering.to, File | Program):
        note(rendering.then)
    return 0


def _explain(plan: ExportPlan, output: Path | None) -> None:
    """
    Print the plan.

    Raises:
        OutputError: the export would be refused. The lines before the refusal are printed.
    """

    def show(name: str, text: str) -> None:
        print(f"{name + ':':9}{harmless(text)}")

    show("system", plan.system.description if plan.system else "no CI system detected")
    for other in plan.systems[1:]:
        show("also", other.description)
    show("format", plan.format_name)
    for notice in plan.notices():
        show("note", notice)
    rendering = plan.dry_run()
    masks = rendering.masks
    show("goes to", describe_destination(rendering, output))
    show("masks", f"go first, to {describe_destination(masks)}" if masks else "none")
    show("then", rendering.then)


def _refuse_output(plan: ExportPlan, output: str | None, *, force: bool) -> None:
    if output is None:
        return
    if plan.format.exclusive:
        raise UsageError(f"the {plan.format_name} format has its own destination", hint="omit --output")
    refuse_output(output, force=force)


def _refuse_log(plan: ExportPlan, expected: Rendering) -> None:
    """Refuse standard output if it is a terminal, or a log that does not hide the token."""
    if sys.stdout.isatty():
        reader = "a terminal"
    elif not plan.format.exclusive and plan.notices() and _is_log():
        reader = "the log"
    else:
        return
    instead = expected.then if plan.format.evaluated else "write it to a file by --output"
    raise OutputError(
        f"standard output is {reader}, which would show the token", hint=f"use exec, or {instead}"
    )


def _is_log() -> bool:
    """True if standard output and standard error are one file. A log of two files is not recognized."""
    return os.name == "posix" and os.path.sameopenfile(1, 2) and not stat.S_ISCHR(os.fstat(1).st_mode)
