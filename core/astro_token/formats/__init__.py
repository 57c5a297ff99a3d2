"""
The outward forms of a `CliEnvironment`, one module per shell or CI system.

A format is a pure function from variables to a `Rendering`.
It takes any text and either renders it so that the consumer reads back exactly that text, or refuses.
That only an Astro token gets this far is the business of `token.py`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from astro_token.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from astro_token.formats.rendering import Rendering, Variables

__all__ = ["FORMATS", "OF_SYSTEM", "masks", "render"]

# Each is `module:function` in this folder, and is imported when it is asked for.
FORMATS = {
    "posix": "posix:render",
    "fish": "fish:render",
    "powershell": "powershell:render",
    "nushell": "nushell:render",
    "cmd": "cmd:render",
    "json": "json:render",
    "dotenv": "dotenv:render",
    "docker": "docker:render",
    "systemd": "systemd:render",
    "value": "value:render",
    "github": "github:environment",
    "github-output": "github:output",
    "gitlab": "posix:gitlab",
    "gitlab-env": "gitlab:render",
    "circleci": "circleci:render",
    "azure-pipelines": "azure_pipelines:render",
    "buildkite": "buildkite:render",
    "teamcity": "teamcity:render",
    "bitbucket": "posix:bitbucket",
    "codebuild": "posix:codebuild",
    # These have no safe place for a value, and say so.
    "cloudbuild": "refused:cloudbuild",
    "jenkins": "refused:jenkins",
    "tekton": "refused:tekton",
    "woodpecker": "refused:woodpecker",
    "drone": "refused:drone",
    "harness": "refused:harness",
    "direnv": "refused:direnv",
}
# What only one CI system takes, by its key: anywhere else it would show the value.
OF_SYSTEM = {
    "github": "github",
    "github-output": "github",
    "gitlab-env": "gitlab",
    "circleci": "circleci",
    "azure-pipelines": "azure-pipelines",
    "buildkite": "buildkite",
    "teamcity": "teamcity",
}
# What makes a log hide values, by `System.log`.
_MASKS = {
    "github": "github:masks",
    "azure-pipelines": "azure_pipelines:masks",
    "buildkite": "buildkite:masks",
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def render(name: str, variables: Variables) -> Rendering:
    """
    Raises:
        UsageError: there is no such format.
        OutputError: the consumer could not read this text back, or has no place for it.
    """
    if name not in FORMATS:
        raise UsageError("there is no such format", hint=f"known are auto, {', '.join(FORMATS)}")
    if not all(_NAME.fullmatch(variable) for variable in (*variables.assigned, *variables.unset)):
        raise OutputError(
            "a variable's name is malformed", hint="use letters, digits and _, and no digit in front"
        )
    rendering = _load(FORMATS[name])(variables)
    if variables.log is None:
        return rendering
    hidden = masks(variables.log, tuple(variables.set.values()))
    if hidden.to == "log" and rendering.to == "output" and name in OF_SYSTEM:
        # Both are commands of one system: on one stream they keep their order.
        hidden = replace(hidden, to="output")
    return replace(rendering, masks=hidden)


def masks(log: str, values: tuple[str, ...]) -> Rendering:
    """What makes a log hide values in every form."""
    return _load(_MASKS[log])(values)


def _load(place: str) -> Callable[..., Rendering]:
    module, _, name = place.partition(":")
    function: Callable[..., Rendering] = getattr(import_module(f"astro_token.formats.{module}"), name)
    return function


def carry(consumer: str, text: str) -> str:
    """
    The text, if an environment can hold it and UTF-8 can write it.

    Raises:
        OutputError: it cannot.
    """
    if "\0" in text:
        raise refuse(consumer, "it holds a NUL character")
    if _SURROGATE.search(text):
        raise refuse(consumer, "it holds half a character")
    return text


def carry_line(consumer: str, text: str, without: tuple[str, ...] = ()) -> str:
    """
    The text, if it is one line of printable ASCII: what consumers agree on that have no quotes or escapes.

    Args:
        without: what the consumer would read otherwise.

    Raises:
        OutputError: it is not.
    """
    if not _LINE.fullmatch(text):
        raise refuse(consumer, "it is not one line of printable ASCII without blanks around it")
    if any(part in text for part in without):
        raise refuse(consumer, f"it holds one of {' '.join(without)}")
    return text


def refuse(consumer: str, reason: str) -> OutputError:
    return OutputError(
        f"{consumer} cannot carry this value: {reason}", hint="use exec, which carries any value"
    )
