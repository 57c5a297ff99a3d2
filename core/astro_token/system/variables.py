"""Environment variables as people mean them: an empty one counts as unset, and a line end is not a part."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["expanded", "path_setting", "secret_setting", "setting", "without_line_end"]


def setting(environ: Mapping[str, str], name: str) -> str:
    """Return a name, an address or a path without blanks and line ends around it; empty if it is unset."""
    return environ.get(name, "").strip()


def path_setting(environ: Mapping[str, str], name: str) -> str:
    """Return the path of a file or folder; empty if it is unset."""
    return expanded(setting(environ, name))


def expanded(path: str) -> str:
    """Replace `~` by the home, as a shell does."""
    path = os.path.expanduser(path)  # noqa: PTH111 (pathlib is slow to load)
    # Without a home it stays, and could be a folder of the checkout. The root has none of that name.
    return f"/{path}" if path.startswith("~") else path


def secret_setting(environ: Mapping[str, str], name: str) -> str:
    """Return a text without the line end at its end. Blanks may be a part, as in a password."""
    return without_line_end(environ.get(name, ""))


def without_line_end(text: str) -> str:
    """Remove the line end that editors and CI systems add to a value or to a credential's file."""
    return text.removesuffix("\n").removesuffix("\r")
