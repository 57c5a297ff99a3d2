"""Print messages and documents, in the same form for every command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from astro_token.ci.system import harmless
from astro_token.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from astro_token.policy.rules import Verdict

__all__ = [
    "harmless",
    "json_text",
    "line",
    "note",
    "output_path",
    "print_json",
    "refuse_output",
    "report",
    "warn",
]


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


def json_text(document: object) -> str:
    """Render a document, with `##` escaped so that no CI system interprets it as a command."""
    import json

    return json.dumps(document, indent=2).replace("##", "#\\u0023")


def print_json(document: object) -> None:
    print(json_text(document))


def output_path(text: str | None) -> Path | None:
    """
    Return the file of `--output`; None without the option.

    Raises:
        UsageError: it names no file.
    """
    if text in {"", "-"}:  # "" comes from an unset variable, which selects nothing
        raise UsageError("--output names no file", hint="give the path of a file, or leave --output out")
    if text is None:
        return None
    from pathlib import Path

    from astro_token.system.os_errors import working_folder

    return Path(working_folder(), text)


def refuse_output(text: str, *, force: bool) -> None:
    """
    Refuse a file that cannot be written, before a secret is read for it.

    Raises:
        OutputError: its folder is missing, it is not a regular file, or it exists.
    """
    from pathlib import Path

    from astro_token.system.files import refuse_special

    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent} is not a folder", hint="create the folder first")
    refuse_special(path)
    if path.exists() and not force:
        raise OutputError(f"{path} exists", hint="remove it, or give --force to replace it")


def line(level: str, text: str) -> None:
    """Show a message on standard error."""
    # A second line, from a line end in a path or a name, could look like another message.
    shown = harmless(text)
    prefix = f"astro-token: {level}: " if level else "astro-token: "
    try:
        print(f"{prefix}{shown}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # standard error is closed; the exit status remains
        return
