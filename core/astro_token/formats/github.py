"""
GitHub Actions: the environment of the steps after this one, or the step's outputs, by the runner's files.

The runner reads `NAME<<DELIMITER`, then lines until one that is exactly the delimiter.
The delimiter is random, so that no value can end its own block and name further variables,
and the form `NAME=value` is never used: a value with a line end would be printed in the runner's error.
A mask is a workflow command, which the runner takes out of the log and obeys from then on.
Gitea, Forgejo and act take the same files and commands, but hide the value only as it is written in a mask:
so the encodings are written too.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.formats import carry, refuse
from astro_token.formats.hiding import hidden
from astro_token.formats.job_file import job_file
from astro_token.formats.rendering import Place, Rendering, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import File

# Where a container of an action has the runner's files, whatever RUNNER_TEMP says.
_IN_CONTAINERS = Path("/github/file_commands")
_LIKE_GITHUB = ("ACT", "GITEA_ACTIONS", "FORGEJO_ACTIONS")


def environment(variables: Variables) -> Rendering:
    then = f"{' '.join(variables.set)} is set for the steps after this one"
    return _appended(variables, variables.assigned, "GITHUB_ENV", then)


def output(variables: Variables) -> Rendering:
    names = " ".join(f"steps.ID.outputs.{name}" for name in variables.set)
    then = f"{names} is set for the steps after this one: take it by `env:`, never in a script; jobs get none"
    return _appended(variables, variables.set, "GITHUB_OUTPUT", then)


def masks(values: tuple[str, ...]) -> Rendering:
    """
    The commands that make the runner hide values.

    The empty line ends one that an earlier command left open: in the middle of a line is no command.
    """
    return Rendering("\n" + "".join(f"::add-mask::{_data(text)}\n" for text in hidden(values)), "log")


def runners_file(variable: str, environ: Mapping[str, str]) -> File:
    """
    The runner's file.

    Raises:
        OutputError: the variable names none, or one where the runner has none.
    """
    temporary, workspace = environ.get("RUNNER_TEMP"), environ.get("GITHUB_WORKSPACE")
    # act and its like keep their files elsewhere, and say so.
    others = any(environ.get(mark, "").lower() == "true" for mark in _LIKE_GITHUB)
    folders = () if others or not temporary else (Path(temporary), _IN_CONTAINERS)
    place = Place(variable, "the runner", folders, Path(workspace) if workspace else None)
    return job_file(place, environ, unset="use this format in a step of GitHub Actions, or use exec")


def _appended(variables: Variables, given: Mapping[str, str], variable: str, then: str) -> Rendering:
    to = runners_file(variable, variables.environ)
    # The empty line ends one that an earlier command of the step left open, as `echo -n` does:
    # else the value would stand on a line of its own, and in the runner's error.
    text = "\n" + "".join(_block(name, value) for name, value in given.items())
    return Rendering(text, to, then=then)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _block(name: str, value: str) -> str:
    value = carry("GitHub's runner", value)
    if "\r" in value:
        raise refuse("GitHub's runner", "it reads a carriage return as a line end on some systems")
    delimiter = f"ghadelimiter_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
