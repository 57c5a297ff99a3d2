"""
The outward forms of a `CliEnvironment`, one module per shell or CI system.

A format is a pure function from variables to a `Rendering`.
It takes any text and either renders it so that the consumer reads back exactly that text, or refuses.
That only an Astro token gets this far is the business of `token.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from astro_token.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from astro_token.formats.job_file import Place

__all__ = ["FORMATS", "OF_SYSTEM", "File", "Program", "Rendering", "Variables", "masks", "render"]

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


@dataclass(frozen=True, slots=True)
class Variables:
    """
    What a format renders.

    Attributes:
        set: names and texts; the texts are secret.
        public: names and texts that are not secret: no log needs to hide them.
        unset: names that are set now and have to go, where the consumer can unset.
        environ: what the CI system tells the job: where its files are.
        log: whose way of hiding a value the log has (`System.log`), or None.
        call: the command line that renders this, for the words that go with it.
        file: where the text is to be written, for the same; None for standard output.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None
    call: str = "astro-token export"
    file: str | None = None
    public: Mapping[str, str] = field(default_factory=dict)

    @property
    def assigned(self) -> dict[str, str]:
        """All variables to set, secret or not."""
        return {**self.set, **self.public}

    def __repr__(self) -> str:
        return f"Variables({', '.join(self.set)})"


@dataclass(frozen=True, slots=True)
class File:
    """
    A file to append to.

    Attributes:
        made: it is made if it is not there; else that is an error.
        place: where it has to be, links followed; None if that does not matter.
    """

    path: Path
    made: bool = False
    place: Place | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program that reads the text from its standard input.

    Attributes:
        argv: it and its arguments, none of them secret.
        confirms: what its output contains if it worked; "" where its exit status alone tells.
    """

    argv: tuple[str, ...]
    confirms: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """
    Attributes:
        text: what the consumer reads.
        to: where it goes; "output" is standard output or the file of `--output`,
            "log" is standard error, which CI systems read as they read standard output.
        masks: what makes the CI system's log hide the value; it goes out first.
        then: what there is to do or to know for who uses it, for people; of a shell's it is a line to type.
    """

    text: str
    to: File | Program | Literal["output", "log"] = "output"
    masks: Rendering | None = None
    then: str = ""

    def __repr__(self) -> str:
        return f"Rendering(…, to={self.to!r})"


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
