"""Every file of the reference, by its path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reference import codes, commands, manual, project_file, python_api, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROOT", "pages", "write"]

ROOT = Path(__file__).resolve().parent.parent.parent


def pages() -> Mapping[str, str]:
    """Render each file."""
    return {
        "docs/reference/project-file.md": project_file.project_file(),
        "docs/reference/astro-token.schema.json": project_file.schema(),
        "docs/reference/variables.md": variables.page(),
        "docs/reference/commands.md": commands.commands(),
        "docs/reference/exit-codes.md": codes.exit_codes(),
        "docs/reference/verdicts.md": codes.verdicts(),
        "docs/reference/errors.md": codes.error_tree(),
        "docs/reference/python.md": python_api.python(),
        "docs/astro-token.1": manual.manual(),
    }


def write() -> None:
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")
