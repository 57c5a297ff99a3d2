"""
Files of a job that a CI system names in variables and reads between the steps: one rule for all systems.

A variable can be wrong, and so can a link in its path. Locations where no system keeps such a file are
refused: above all the checkout, from which caches, artifacts and images are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.formats.rendering import File, JobFileRule

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["job_file"]


def job_file(
    variable: str,
    environ: Mapping[str, str],
    owner: str,
    *,
    checkout: str,
    hint: str,
    folders: tuple[Path, ...] = (),
    may_create: bool = False,
) -> File:
    """
    Return the file that a variable names.

    Args:
        owner: sets the variable; for people.
        checkout: the variable that names the checkout.
        hint: the advice if the variable is not set.
        folders: the file is in one of them; empty if they are not known.
        may_create: the file is created if it does not exist.

    Raises:
        OutputError: the variable is not set, or names a location that the rule refuses.
    """
    if not environ.get(variable):
        raise OutputError(f"{variable} is not set, so the value has no destination", hint=hint)
    path, repository = Path(environ[variable]), environ.get(checkout)
    rule = JobFileRule(variable, owner, folders, Path(repository).expanduser() if repository else None)
    rule.refuse_name(path)
    return File(path, may_create=may_create, rule=rule)
