"""
What a CI system's own lists of errors and warnings are told, by commands in the log.

Only where that is documented: GitHub Actions, and Azure Pipelines. TeamCity reads its messages
from standard output, where the result is; Gitea, Forgejo and act show such a command as a line of the log.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.ci.system import ci_system
from astro_token.cli.output import harmless, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from astro_token.cli.remarks import Remark

__all__ = ["annotation", "azure_data", "say", "tell"]


def tell(remarks: Iterable[Remark]) -> None:
    """For people, and for the CI system's own list where it has one."""
    for remark in remarks:
        line(remark.level, remark.line)
        if remark.hint:
            line("hint", remark.hint)
        command = None if sys.stderr.isatty() else annotation(remark, os.environ)
        if command is not None:
            say(command)


def annotation(remark: Remark, environ: Mapping[str, str]) -> str | None:
    """The command for it, or None where the CI system takes none."""
    system = ci_system(environ)
    command = _COMMANDS.get(system.name) if system else None
    return command(remark) if command else None


def say(command: str) -> None:
    """On standard error, which the systems read too, and where no data are."""
    with suppress(OSError, ValueError):  # no standard error: the exit status still tells
        print(command, file=sys.stderr, flush=True)


def _github(remark: Remark) -> str:
    title = _percented(harmless(_title(remark)), ":,")
    return (
        f"::{remark.level} title={title}::{_percented(harmless(remark.line))}%0A{_percented(_hint(remark))}"
    )


def _azure(remark: Remark) -> str:
    code = f"code={remark.code};" if remark.code else ""
    text = azure_data(f"{remark.line}; {_hint(remark)}" if remark.hint else remark.line)
    return f"##vso[task.logissue type={remark.level};{code}]astro-token: {text}"


def azure_data(text: str) -> str:
    """What stands behind a command of the agent's: it decodes this, and looks for commands anywhere."""
    return harmless(text).replace("%", "%AZP25")


def _title(remark: Remark) -> str:
    return f"astro-token: {remark.code}" if remark.code else "astro-token"


def _hint(remark: Remark) -> str:
    return harmless(remark.hint or "")


def _percented(text: str, more: str = "") -> str:
    text = text.replace("%", "%25")
    for character in f"\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


# By the system's name: those that share GitHub's key have no such lists.
_COMMANDS: dict[str, Callable[[Remark], str]] = {"GitHub Actions": _github, "Azure Pipelines": _azure}
