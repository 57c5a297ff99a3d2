"""`completion`: print a script made by `make completion`, or the words that it offers for a TOKEN or KEY."""

from __future__ import annotations

from pkgutil import get_data
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    if arguments.shell in {"tokens", "keys"}:
        print("\n".join(_words(keys=arguments.shell == "keys")))
    else:
        script = get_data("astro_token.cli", f"completions/{arguments.shell}")
        print((script or b"").decode(), end="")
    return 0


def _words(*, keys: bool) -> list[str]:
    """List schemes, and for a TOKEN the names in the project file, all of them safe for a shell to expand."""
    from pathlib import Path

    from astro_token.errors import AstroTokenError
    from astro_token.secrets.schemes import BUILTIN
    from astro_token.settings.project_file import find_project

    schemes = [f"{name}:" for name, scheme in BUILTIN.items() if scheme.key == keys]
    if keys:
        return schemes
    try:
        return [*sorted(find_project(Path.cwd()).tokens), *schemes]
    except (AstroTokenError, OSError):
        return schemes  # a message would corrupt the line that is being typed
