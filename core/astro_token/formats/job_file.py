"""
A file of the job that a CI system names in a variable, and reads between the steps: one rule for all systems.

The variable can lie, and so can a link on the way. Refused is where no system keeps such a file: above all
the checkout, out of which caches, artifacts and images are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.formats.rendering import File

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.formats.rendering import Place

__all__ = ["job_file"]


def job_file(place: Place, environ: Mapping[str, str], *, unset: str, made: bool = False) -> File:
    """
    Args:
        unset: the hint where the variable names nothing.
        made: it is made if it is not there.

    Raises:
        OutputError: the variable names none, or one where the system has none.
    """
    name = environ.get(place.variable)
    if not name:
        raise OutputError(f"{place.variable} is not set, so there is no place for the value", hint=unset)
    path = Path(name)
    place.refuse(path)
    return File(path, made=made, place=place)
