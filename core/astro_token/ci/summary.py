"""Rules for the summary of a job, shared by the systems that have one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.system.os_errors import working_folder
from astro_token.system.programs import repository_of
from astro_token.system.variables import path_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIMIT", "checkout_folder", "refuse_longer"]

LIMIT = 1024 * 1024  # bytes: GitHub drops a longer one, Buildkite refuses it


def checkout_folder(variable: str, environ: Mapping[str, str]) -> Path | None:
    """Return the folder that the CI system names, else the repository of the working folder."""
    folder = path_setting(environ, variable) or repository_of(Path(working_folder()))
    return Path(folder) if folder else None


def refuse_longer(data: bytes, existing: int = 0) -> None:
    """Refuse a summary that, with the bytes written before, is so long that CI systems drop it."""
    if existing + len(data) > LIMIT:
        raise OutputError(
            f"it would be longer than {LIMIT // 1024} KiB, the limit of the CI systems",
            hint="check fewer tokens in one step",
        )
