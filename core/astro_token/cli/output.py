"""Print messages and documents, in the same form for every command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from astro_token.ci.system import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astro_token.policy.rules import Verdict

__all__ = ["harmless", "line", "note", "print_json", "report", "warn"]


def report(message: str, hint_text: str | None, code: int) -> int:
    """Show an error, and return its exit status."""
    line("error", message)
    if hint_text:
        line("hint", hint_text)
    return code


def warn(verdicts: Iterable[Verdict], name: object) -> None:
    """Show the warnings among verdicts. The name of the token or deploy comes first."""
    for verdict in verdicts:
        if verdict.level == "warning":
            line("warning", f"{name}: {verdict.message}")
            line("hint", verdict.hint)


def note(text: str) -> None:
    """Show a message without a level."""
    line("", text)


def print_json(document: object) -> None:
    """Print a document, with `##` escaped so that no CI system interprets it as a command."""
    import json

    print(json.dumps(document, indent=2).replace("##", "#\\u0023"))


def line(level: str, text: str) -> None:
    """Show a message on standard error."""
    # A second line, from a line end in a path or a name, could look like another message.
    shown = harmless(text)
    prefix = f"astro-token: {level}: " if level else "astro-token: "
    try:
        print(f"{prefix}{shown}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # standard error is closed; the exit status remains
        return
