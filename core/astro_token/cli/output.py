"""What every command prints in the same way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.policy.rules import Verdict

__all__ = ["harmless", "line", "note", "print_json", "report", "warn"]


def report(message: str, hint_text: str | None, code: int) -> int:
    """Shows an error and returns the exit status, so that both stand in one line of the caller."""
    line("error", message)
    if hint_text:
        line("hint", hint_text)
    return code


def warn(verdicts: Iterable[Verdict], name: object) -> None:
    """Shows what is doubtful about a token that is good enough."""
    for verdict in verdicts:
        if verdict.level == "warning":
            line("warning", f"{name}: {verdict.message}")
            line("hint", verdict.hint)


def note(text: str) -> None:
    """Says what was done, on standard error like everything that was not asked for."""
    line("", text)


def harmless(text: str) -> str:
    """
    The text as one line that no CI system takes for a command.

    Runners look for `##[` and `##vso[` anywhere in a line, and for `::` at its start only.
    """
    return "".join(character if character.isprintable() else "?" for character in text).replace("##", "#?")


def print_json(document: object) -> None:
    """Prints a document, in which `##` is written so that no CI system takes it for a command."""
    import json

    print(json.dumps(document, indent=2).replace("##", "#\\u0023"))


def line(kind: str, text: str) -> None:
    """Shows a message on standard error; without a kind it is a plain word."""
    # One line, whatever was in a path or a name: a second one could look like another message.
    shown = harmless(text)
    prefix = f"astro-token: {kind}: " if kind else "astro-token: "
    try:
        print(f"{prefix}{shown}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # no standard error: the exit status still tells
        return
