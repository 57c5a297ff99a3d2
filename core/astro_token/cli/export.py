"""`export`: the token in a form that a shell or a CI system reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.ci import ci_system, in_ci
from astro_token.cli.output import note, warn
from astro_token.errors import OutputError, UsageError
from astro_token.exporter import TOKEN_VARIABLE, export
from astro_token.formats import Rendering, Variables, render
from astro_token.policy import enforce
from astro_token.read import checked
from astro_token.settings import resolve

if TYPE_CHECKING:
    import argparse

    from astro_token.exporter import CliEnvironment
    from astro_token.process import Inherited


def run(arguments: argparse.Namespace, _inherited: Inherited) -> int:
    settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    system = ci_system(os.environ)
    name = arguments.format if arguments.format != "auto" else system or "posix"
    if arguments.output in {"", "-"}:  # empty as a variable that is not set is: no choice of standard output
        raise UsageError("--output names no file", hint="give the path of a file, or leave --output out")
    output = Path(arguments.output) if arguments.output else None
    # Before a secret is read: one that cannot be handed over need not be.
    _refuse_early(name, output, force=arguments.force)
    token, verdicts = checked(settings)
    enforce(verdicts, settings.ref)
    warn(verdicts, settings.ref)
    rendering = render(name, _variables(export(token)))
    if arguments.format == "auto" and system is None and in_ci(os.environ):
        note("this CI system is not known here: the output is for a POSIX shell, and the log hides nothing")
    masks = rendering.masks
    if system == "github" and not masks and not sys.stderr.isatty():
        from astro_token.formats.github import masked

        masks = masked(token.reveal())
    for mask in masks:
        # On standard error, which the runner reads too, so that `$(…)` gets the output alone.
        print(mask, file=sys.stderr, flush=True)
    _write(rendering, output, force=arguments.force)
    return 0


def _variables(environment: CliEnvironment) -> Variables:
    return Variables(
        set={name: secret.reveal().decode("ascii") for name, secret in environment.set.items()},
        unset=tuple(sorted(name for name in environment.unset if name in os.environ)),
        environ=os.environ,
    )


def _refuse_early(name: str, output: Path | None, *, force: bool) -> None:
    if name == "github":
        if output is not None:
            raise UsageError("the github format has its own file", hint="leave --output out")
        if ci_system(os.environ) != "github" or sys.stderr.isatty():
            # The masks would show the token where no runner takes them out.
            raise OutputError(
                "the github format is for a step of GitHub Actions, and this is none",
                hint="use exec, or --format posix in a shell",
            )
        return
    if output is None:
        if sys.stdout.isatty():
            raise OutputError(
                "standard output is a terminal, which would show the token",
                hint='use exec, or assign it: out="$(astro-token export)" && eval "$out"',
            )
        return
    from astro_token.files import refuse_special

    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output.absolute().parent} is no folder", hint="make the folder first")
    refuse_special(output)
    if output.exists() and not force:
        raise OutputError(f"{output} exists", hint="remove it, or give --force to replace it")


def _write(rendering: Rendering, output: Path | None, *, force: bool) -> None:
    data = rendering.text.encode()
    if rendering.append_to is not None:
        from astro_token.files import append

        append(rendering.append_to, data)
        note(f"{TOKEN_VARIABLE} is set for the steps after this one")
    elif output is not None:
        from astro_token.files import create, replace

        (replace if force else create)(output.absolute(), data)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
