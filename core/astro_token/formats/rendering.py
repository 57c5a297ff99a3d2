"""What a format takes and returns: variables, and a rendering with its destination."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from astro_token.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["File", "Place", "Program", "Rendering", "Variables"]


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


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _strays(path: Path, folders: tuple[Path, ...], checkout: Path | None) -> bool:
    inside = [folder for folder in folders if path.is_relative_to(folder)]
    if folders and not inside:
        return True
    if checkout is None or not path.is_relative_to(checkout):
        return False
    return not any(folder != checkout and folder.is_relative_to(checkout) for folder in inside)


@dataclass(frozen=True, slots=True)
class Variables:
    """
    What a format renders.

    Attributes:
        set: names and texts; the texts are secret.
        public: names and texts that are not secret: no log needs to hide them.
        unset: names that are set now and have to go, where the consumer can unset.
        environ: what the CI system tells the job: where its files are.
        log: whose way of hiding a value the log has (`System.log`), or None.
        call: the command line that renders this, for the words that go with it.
        file: where the text is to be written, for the same; None for standard output.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None
    call: str = "astro-token export"
    file: str | None = None
    public: Mapping[str, str] = field(default_factory=dict)

    @property
    def assigned(self) -> dict[str, str]:
        """All variables to set, secret or not."""
        return {**self.set, **self.public}

    def __repr__(self) -> str:
        return f"Variables({', '.join(self.set)})"


@dataclass(frozen=True, slots=True)
class File:
    """
    A file to append to.

    Attributes:
        made: it is made if it is not there; else that is an error.
        place: where it has to be, links followed; None if that does not matter.
    """

    path: Path
    made: bool = False
    place: Place | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program that reads the text from its standard input.

    Attributes:
        argv: it and its arguments, none of them secret.
        confirms: what its output contains if it worked; "" where its exit status alone tells.
    """

    argv: tuple[str, ...]
    confirms: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """
    Attributes:
        text: what the consumer reads.
        to: where it goes; "output" is standard output or the file of `--output`,
            "log" is standard error, which CI systems read as they read standard output.
        masks: what makes the CI system's log hide the value; it goes out first.
        then: what there is to do or to know for who uses it, for people; of a shell's it is a line to type.
    """

    text: str
    to: File | Program | Literal["output", "log"] = "output"
    masks: Rendering | None = None
    then: str = ""

    def __repr__(self) -> str:
        return f"Rendering(…, to={self.to!r})"
