"""`export`: the token in a form that a shell or a CI system reads."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.cli.handover import Handover
from astro_token.cli.output import note, warn
from astro_token.environment.export import export
from astro_token.errors import OutputError, UsageError
from astro_token.formats import OF_SYSTEM, render
from astro_token.formats.delivery import deliver
from astro_token.formats.rendering import File, Program, Variables
from astro_token.policy.rules import enforce
from astro_token.settings.resolve import resolve
from astro_token.tokens.read import checked

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.environment.export import CliEnvironment
    from astro_token.formats.rendering import Rendering


_LINES = frozenset({"posix", "fish", "nushell", "powershell", "cmd", "gitlab", "bitbucket", "codebuild"})


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.output in {"", "-"}:  # empty as a variable that is not set is: no choice of standard output
        raise UsageError("--output names no file", hint="give the path of a file, or leave --output out")
    output = Path(arguments.output).absolute() if arguments.output else None
    settings = None
    if arguments.token or not arguments.explain:  # what is to be explained need not be known
        settings = resolve(arguments.token, decrypt=arguments.decrypt, timeout=arguments.timeout)
    handover = Handover.here(
        arguments.format,
        os.environ,
        terminal=sys.stderr.isatty(),
        token=arguments.token,
        file=arguments.output,
    )
    if settings is None or arguments.explain:
        from astro_token.cli.explain import explain

        explain(handover, output)
        _refuse_output(handover.format, arguments.output, force=arguments.force)
        return 0
    # Before a secret is read: one that cannot be handed over need not be.
    trial = handover.trial()
    _refuse_output(handover.format, arguments.output, force=arguments.force)
    if trial.to == "output" and output is None:
        _refuse_log(handover, trial)
    token, verdicts = checked(settings)
    enforce(verdicts, settings.ref)
    warn(verdicts, settings.ref)
    rendering = render(handover.format, _variables(export(token), handover.log))
    for word in handover.words():
        note(word)
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
    )


def _refuse_output(name: str, output: str | None, *, force: bool) -> None:
    if output is None:
        return
    if name in OF_SYSTEM:
        raise UsageError(f"the {name} format has its own place", hint="leave --output out")
    from astro_token.system.files import refuse_special

    path = Path(output)
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent} is no folder", hint="make the folder first")
    refuse_special(path)
    if path.exists() and not force:
        raise OutputError(f"{path} exists", hint="remove it, or give --force to replace it")


def _refuse_log(handover: Handover, trial: Rendering) -> None:
    """
    Raises:
        OutputError: nobody takes what we print.
    """
    where = None
    if sys.stdout.isatty():
        where = "a terminal"
    elif handover.format not in OF_SYSTEM and handover.words() and _is_log():
        where = "the log"
    if where:
        instead = trial.then if handover.format in _LINES else "write it to a file by --output"
        raise OutputError(
            f"standard output is {where}, which would show the token", hint=f"use exec, or {instead}"
        )


def _is_log() -> bool:
    """True if what we print goes where our messages go. Where it does not, it may be one all the same."""
    return os.name == "posix" and os.path.sameopenfile(1, 2) and not stat.S_ISCHR(os.fstat(1).st_mode)
