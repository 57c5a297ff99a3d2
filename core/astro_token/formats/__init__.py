"""
Formats of `export` for shells, files and programs; `ci/` has those of the CI systems.

A format is a pure function from variables to a `Rendering`.
It takes any text and either renders it so that the consumer reads back exactly that text, or refuses.
`token.py` ensures that only an Astro token gets this far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.formats.rendering import Rendering, Variables

__all__ = ["GENERIC", "ExportFormat", "Refusal", "script_format"]


class Refusal(Record):
    """
    The function of a format whose consumer has no safe destination for a value that is read while a job runs.

    Attributes:
        consumer: for people.
        reason: the danger.
        line: runs a command by `exec` there; `{}` stands for the command line.
    """

    consumer: str
    reason: str
    line: str = "{}"

    def __call__(self, _variables: Variables) -> Rendering:
        from astro_token.errors import OutputError

        line = self.line.format("astro-token exec -- astro deploy")
        raise OutputError(
            f"{self.consumer} has no safe destination for the value: {self.reason}", hint=f"use exec: {line}"
        )


class ExportFormat(Record):
    """
    A value of `export --format`.

    Attributes:
        render: the function; as `module:function` of this package it is imported at its first use.
        exclusive: only its CI system reads it; anywhere else it would show the value.
        evaluated: a shell evaluates the output; `Rendering.then` is the line to write.
        lifetime: completes `Rendering.then`.
        self_masking: the CI system hides the value without further commands.
        aliases: other names that people use.
    """

    render: str | Callable[[Variables], Rendering]
    exclusive: bool = False
    evaluated: bool = False
    lifetime: str = ""
    self_masking: bool = False
    aliases: tuple[str, ...] = ()


def script_format(lifetime: str) -> ExportFormat:
    """Return the format of a CI system in which one shell runs a whole script."""
    return ExportFormat("shells:posix", evaluated=True, lifetime=lifetime)


GENERIC: Mapping[str, ExportFormat] = {
    "posix": ExportFormat(
        "shells:posix", evaluated=True, aliases=("sh", "bash", "zsh", "ksh", "dash", "shell")
    ),
    "fish": ExportFormat("shells:fish", evaluated=True),
    "powershell": ExportFormat("shells:powershell", evaluated=True, aliases=("pwsh", "ps1")),
    "nushell": ExportFormat("files:nushell", evaluated=True, aliases=("nu",)),
    "cmd": ExportFormat("shells:cmd", evaluated=True),
    "json": ExportFormat("files:json"),
    "dotenv": ExportFormat("files:dotenv", aliases=("env",)),
    "docker": ExportFormat("files:docker"),
    "systemd": ExportFormat("files:systemd"),
    "value": ExportFormat("files:value"),
    "direnv": ExportFormat(
        Refusal("direnv", "every program run in the folder would get it, and DIRENV_DIFF holds a copy of it")
    ),
}
