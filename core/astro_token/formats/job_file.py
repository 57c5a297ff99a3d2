"""
A file of the job that a CI system names in a variable and reads between the steps: one rule for all systems.

The variable can be wrong, and so can a link in its path. Locations where no system keeps such a file are
refused: above all the checkout, from which caches, artifacts and images are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.formats.rendering import File

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import JobFileRule

__all__ = ["job_file"]


def job_file(rule: JobFileRule, environ: Mapping[str, str], *, hint: str, may_create: bool = False) -> File:
    """
    Return the file that the rule's variable names.

    Args:
        hint: the advice if the variable is not set.
        may_create: the file is created if it does not exist.

    Raises:
        OutputError: the variable is not set, or names a location that the rule refuses.
    """
    name = environ.get(rule.variable)
    if not name:
        raise OutputError(f"{rule.variable} is not set, so the value has no destination", hint=hint)
    path = Path(name)
    rule.refuse_name(path)
    return File(path, may_create=may_create, rule=rule)
