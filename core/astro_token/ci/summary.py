"""Rules for the summary of a job, shared by the systems that have one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIMIT", "checkout_folder", "refuse_longer"]

LIMIT = 1024 * 1024  # bytes: GitHub drops a longer one, Buildkite refuses it


def checkout_folder(variable: str, environ: Mapping[str, str]) -> Path | None:
    """Return the folder that the CI system names, else the repository of the working folder."""
    if named := environ.get(variable):
        return Path(named)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if os.path.lexists(folder / ".git")), None)


def refuse_longer(data: bytes, existing: int = 0) -> None:
    """
    Refuse a summary that the CI systems would drop.

    Args:
        existing: bytes that the summary has already.

    Raises:
        OutputError: it is too long.
    """
    if existing + len(data) > LIMIT:
        raise OutputError(
            f"it would be longer than {LIMIT // 1024} KiB, which the CI system does not take",
            hint="check fewer tokens in one step",
        )
