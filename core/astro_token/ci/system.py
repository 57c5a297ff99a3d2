"""The record of a CI system, and the functions that the modules of several systems share."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from astro_token.record import Record
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from astro_token.formats import ExportFormat
    from astro_token.formats.rendering import Rendering
    from astro_token.identity import IdentityRequest, NoIdentity

__all__ = ["CISystem", "harmless", "say"]


class CISystem(Record):
    """
    Everything about a CI system, or about one of several that share a key.

    A module of `ci/` lists its records in `SYSTEMS`. A record that refines another stands before it.
    Every command loads all these modules, so their functions import what they need themselves.

    Attributes:
        name: for people.
        key: for programs; related systems share it.
        marks: variables that the system sets, all of them, and their values; "" stands for any value.
            Without marks the system is never detected.
        precedence: if jobs of several systems are nested, the lowest one is the likeliest.
        format: the default of `export`.
        formats: the values of `export --format` that the system brings.
        proof: a variable with the path of a file or socket of the system; the path exists in its jobs.
        terminal: its jobs have a terminal; elsewhere a terminal shows that a person is there.
        masks: renders the commands that tell the log to hide values.
        refuse_log: raises `OutputError` or `InputOutputError` if another system may read the log, and so
            show the masks, with the values in them.
        identity: returns the request for the job's identity token, the reason why there is none, or None
            in other systems' jobs, from the environment and the detected record. Related systems share it.
        identity_variables: hold an identity of the job, or lead to one. `exec` removes them.
        identity_suffix: ends the names of further such variables in the system's jobs.
        annotate: renders an error or warning for the system's own list, from level, code, message and hint.
        add_summary: adds Markdown to the summary of the job, from its bytes, the worst status (ok, warning,
            failed) and the environment; returns the destination, or None if there is none.
    """

    name: str
    key: str
    marks: Mapping[str, str]
    precedence: int = 500
    format: str = "posix"
    formats: Mapping[str, ExportFormat] = MappingProxyType({})
    proof: str | None = None
    terminal: bool = False
    masks: Callable[[tuple[str, ...]], Rendering] | None = None
    refuse_log: Callable[[Mapping[str, str]], None] | None = None
    identity: Callable[[Mapping[str, str], CISystem | None], IdentityRequest | NoIdentity | None] | None = (
        None
    )
    identity_variables: tuple[str, ...] = ()
    identity_suffix: str = ""
    annotate: Callable[[str, str, str, str], str] | None = None
    add_summary: Callable[[bytes, str, Mapping[str, str]], str | None] | None = None

    def detected(self, environ: Mapping[str, str]) -> bool:
        return bool(self.marks) and all(
            setting(environ, name).lower() == value if value else setting(environ, name)
            for name, value in self.marks.items()
        )

    @property
    def description(self) -> str:
        """The name and the marks, for people."""
        return f"{self.name}, detected by {' and '.join(self.marks)}"


def harmless(text: str) -> str:
    """
    Return the text as one line that no CI system takes for a command.

    Runners look for `##[` and `##vso[` anywhere in a line, and for `::` at its start only.
    """
    return "".join(character if character.isprintable() else "?" for character in text).replace("##", "#?")


def say(command: str) -> None:
    """Print a command to standard error, which the systems read too, and which carries no data."""
    try:
        print(command, file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError):  # no standard error: the exit status still tells
        return
