"""CI systems and tools that have no safe place for a value that is found while a job runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from astro_token.errors import OutputError

if TYPE_CHECKING:
    from astro_token.formats.rendering import Variables

_EXEC = "astro-token exec -- astro deploy"


def cloudbuild(_: Variables) -> NoReturn:
    raise _none("Google Cloud Build", "its steps share files only", f"script: {_EXEC}")


def jenkins(_: Variables) -> NoReturn:
    why = "what a step sets in env is not masked and reaches all stages"
    raise _none("Jenkins", why, f"sh '{_EXEC}'")


def tekton(_: Variables) -> NoReturn:
    raise _none("Tekton", "its results are stored in plain text", f"script: {_EXEC}")


def woodpecker(_: Variables) -> NoReturn:
    raise _none("Woodpecker", "its steps share files only", f"commands: [{_EXEC}]")


def drone(_: Variables) -> NoReturn:
    raise _none("Drone", "its steps share files only", f"commands: [{_EXEC}]")


def harness(_: Variables) -> NoReturn:
    raise _none("Harness CI", "its outputs are shown in plain text", f"command: {_EXEC}")


def direnv(_: Variables) -> NoReturn:
    why = "every program run in the folder would get it, and DIRENV_DIFF holds a copy"
    raise _none("direnv", why, _EXEC)


def _none(system: str, why: str, line: str) -> OutputError:
    return OutputError(f"{system} has no safe place for the value: {why}", hint=f"use exec: {line}")
