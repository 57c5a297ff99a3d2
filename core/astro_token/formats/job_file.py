"""
A file of the job that a CI system names in a variable, and reads between the steps: one rule for all systems.

The variable can lie, and so can a link on the way. Refused is where no system keeps such a file: above all
the checkout, out of which caches, artifacts and images are made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.errors import OutputError
from astro_token.formats import File

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Place", "job_file"]


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a system keeps the file.

    Attributes:
        variable: names it.
        keeper: sets that variable; for people.
        folders: it is in one of them; none if they are not known.
        checkout: it is not in this one, but for a folder of the system's own in there.
    """

    variable: str
    keeper: str
    folders: tuple[Path, ...] = ()
    checkout: Path | None = None

    def refuse(self, path: Path) -> None:
        """
        Judges by the names alone.

        Raises:
            OutputError: the path leads elsewhere.
        """
        absolute = path.is_absolute() and ".." not in path.parts
        if not absolute or _strays(path, self.folders, self.checkout):
            raise OutputError(
                f"{self.variable} leads to {path}, where {self.keeper} keeps no such file",
                hint=f"{self.keeper} sets it: do not set it yourself, or use exec",
            )

    def refuse_by_links(self, path: Path) -> None:
        """
        Judges by what the names lead to.

        Raises:
            OutputError: the path leads elsewhere.
        """
        folders = tuple(map(_followed, self.folders))
        if _strays(_followed(path), folders, self.checkout and _followed(self.checkout)):
            raise OutputError(
                f"{self.variable} leads by a link to where {self.keeper} keeps no such file",
                hint=f"{self.keeper} sets it: do not set it yourself, or use exec",
            )


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


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _strays(path: Path, folders: tuple[Path, ...], checkout: Path | None) -> bool:
    inside = [folder for folder in folders if path.is_relative_to(folder)]
    if folders and not inside:
        return True
    if checkout is None or not path.is_relative_to(checkout):
        return False
    return not any(folder != checkout and folder.is_relative_to(checkout) for folder in inside)
