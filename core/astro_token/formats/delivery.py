"""Delivery of a rendering to its destination: the only part of the formats with an effect."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    InputOutputError,
    OutputError,
    result,
    with_prefix,
)
from astro_token.formats.rendering import File, Program
from astro_token.system.files import append, create, is_of_another_user, refuse_special, replace
from astro_token.system.os_errors import reason, remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from astro_token.formats.rendering import Rendering

__all__ = ["deliver", "describe_destination", "feed", "find", "refuse_destination"]

PROGRAM_SECONDS = 30.0
_OUTPUT_LIMIT = 65536  # bytes of a program's output that are searched for its confirmation


def refuse_destination(rendering: Rendering, environ: Mapping[str, str]) -> None:
    """
    Refuse a destination that cannot take the text, before a secret is read or a mask is shown.

    Raises:
        OutputError: the file is missing, a link, another user's, not regular, or outside its folders;
            the program is not on PATH.
    """
    to = rendering.to
    if isinstance(to, File):
        _naming_variable(to, lambda: _refuse_file(to))
    elif isinstance(to, Program):
        find(to.argv[0], environ)


def _refuse_file(to: File) -> None:
    refuse_special(to.path)
    if to.rule is not None:
        to.rule.refuse_target(to.path)
    try:
        status = to.path.stat()
    except OSError:
        status = None
    if status is None:
        if to.may_create and to.path.parent.is_dir():
            return
        raise OutputError(
            f"{to.path} does not exist", hint="the CI system creates it: do not set its variable yourself"
        )
    if status.st_nlink != 1:
        raise OutputError(f"{to.path} has a second name", hint="write to a file that has only one name")
    if is_of_another_user(status):
        raise OutputError(f"{to.path} belongs to another user", hint="write to a file of your own")


def _naming_variable(to: File, action: Callable[[], None]) -> None:
    """Name the variable that names a file in an error about the file."""
    if to.rule is None:
        action()
        return
    error: AstroTokenError
    try:
        action()
        return
    except OutputError as refused:
        error = with_prefix(refused, to.rule.variable)
    except OSError as failed:
        error = InputOutputError(
            f"{to.rule.variable}: {to.path} cannot be written: {reason(failed)}",
            hint=remedy(failed, f"{to.rule.owner} sets it: do not set it yourself, or use exec"),
        )
    raise error


def deliver(
    rendering: Rendering, environ: Mapping[str, str], output: Path | None = None, *, force: bool = False
) -> None:
    """
    Write the masks, then the text.

    Args:
        output: a file that replaces standard output.
        force: overwrite that file if it exists.

    Raises:
        OutputError: the destination is refused, or its program did not take the text.
        OSError: no space, no permission, no reader.
    """
    if rendering.masks is not None:
        deliver(rendering.masks, environ)
    data, to = rendering.text.encode(), rendering.to
    if isinstance(to, File):
        is_new = to.may_create and not os.path.lexists(to.path)
        _naming_variable(to, lambda: (create if is_new else append)(to.path, data))
    elif isinstance(to, Program):
        result(feed(to, data, environ, PROGRAM_SECONDS))
    elif to == "output" and output is not None:
        (replace if force else create)(output, data)
    else:
        stream = sys.stderr if to == "log" else sys.stdout
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()


def describe_destination(rendering: Rendering, output: Path | None = None) -> str:
    """Describe the destination for people."""
    to = rendering.to
    if isinstance(to, File):
        return f"the end of {to.path}"
    if isinstance(to, Program):
        return f"the standard input of `{' '.join(to.argv)}`"
    if to == "log":
        return "standard error"
    return "standard output" if output is None else str(output)


def find(name: str, environ: Mapping[str, str]) -> str:
    """
    Return the program's path; only absolute folders of PATH count.

    Raises:
        OutputError: no folder contains it.
    """
    from astro_token.system.programs import find_program, why_missing

    path = find_program(name, environ)
    if path is None:
        raise OutputError(
            f"{name} takes the value, and {why_missing(name, environ)}",
            hint="run astro-token where the CI system's own program is, or use exec",
        )
    return path


def feed(program: Program, data: bytes, environ: Mapping[str, str], seconds: float) -> AstroTokenError | None:
    """
    Run a program with a secret as its input, and return its failure: no traceback leads to the secret.

    The program's output is never shown, since it may repeat the secret.

    Raises:
        OutputError: the program does not exist.
    """
    from astro_token.system.programs import trusted_path
    from astro_token.system.running import run_program

    name = " ".join(program.argv[:3])
    argv = [find(program.argv[0], environ), *program.argv[1:]]
    clean = {**environ, "PATH": trusted_path(environ)}
    done = run_program(argv, clean, seconds=seconds, limit=_OUTPUT_LIMIT, data=data)
    if done is not None and done.late:
        return BackendUnavailableError(f"{name} did not end in time", hint="try again later")
    if done is None or done.code != 0 or program.confirms.encode() not in done.output:
        return OutputError(
            f"{name} did not take the value",
            hint="check that it is the CI system's own program and belongs to this job, or use exec",
        )
    return None
