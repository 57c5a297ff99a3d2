"""Input and output of a format: variables, and a rendering with its destination."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from astro_token.errors import OutputError
from astro_token.record import Record
from astro_token.system.variables import path_setting, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["File", "JobFileRule", "Program", "Rendering", "Variables", "job_file"]


class JobFileRule(Record):
    """
    Locations of a file that a CI system names in a variable and reads between the steps.

    The variable can be wrong, and so can a link in its path. Locations where no system keeps such a file are
    refused: above all the checkout, from which caches, artifacts and images are made.

    Attributes:
        variable: names the file.
        owner: sets that variable; for people.
        folders: the file is in one of them; empty if any folder will do.
        checkout: the file is not in this folder, except in one of `folders` inside it.
        others: the variables that name these folders.
    """

    variable: str
    owner: str
    folders: tuple[Path, ...] = ()
    checkout: Path | None = None
    others: tuple[str, ...] = ()

    def refuse_name(self, path: Path) -> None:
        """Refuse a path whose names lead elsewhere."""
        absolute = path.is_absolute() and ".." not in path.parts
        if not absolute or _is_elsewhere(path, self.folders, self.checkout):
            raise self._error(f"names {path}, but {self.owner} keeps no such file there")

    def refuse_target(self, path: Path) -> None:
        """Refuse a path that leads elsewhere through a link."""
        folders = tuple(map(_resolved, self.folders))
        if _is_elsewhere(_resolved(path), folders, self.checkout and _resolved(self.checkout)):
            raise self._error(
                f"leads through a link to another folder: {self.owner} keeps no such file there"
            )

    def _error(self, problem: str) -> OutputError:
        others = f" and {' and '.join(self.others)}" if self.others else ""
        hint = f"{self.owner} sets it{others}: do not set it yourself, or use exec"
        return OutputError(f"{self.variable} {problem}", hint=hint)


def _resolved(path: Path) -> Path:
    return type(path)(os.path.realpath(path))


def _is_elsewhere(path: Path, folders: tuple[Path, ...], checkout: Path | None) -> bool:
    inside = [folder for folder in folders if path.is_relative_to(folder)]
    if folders and not inside:
        return True
    if checkout is None or not path.is_relative_to(checkout):
        return False
    return not any(folder != checkout and folder.is_relative_to(checkout) for folder in inside)


class Variables(Record):
    """
    Input of a format.

    Attributes:
        set: names and texts; the texts are secret.
        public: names and texts that no log needs to hide.
        unset: names that are set now, to be unset if the consumer can.
        environ: the CI system's variables, which name its files.
        log: the key of the CI system whose log hides the texts, or None.
        call: the command line that renders this, for `Rendering.then`.
        file: the output file, for the same; None for standard output.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    environ: Mapping[str, str] = MappingProxyType({})
    log: str | None = None
    call: str = "astro-token export"
    file: str | None = None
    public: Mapping[str, str] = MappingProxyType({})

    @property
    def names(self) -> str:
        """The names of the secret variables, for people."""
        return " ".join(self.set)

    @property
    def assigned(self) -> dict[str, str]:
        """All variables to set, secret or not."""
        return {**self.set, **self.public}

    def __repr__(self) -> str:
        return f"Variables({', '.join(self.set)})"


class File(Record):
    """
    A file to append to.

    Attributes:
        may_create: it is created if it does not exist; otherwise that is an error.
        rule: the locations that are accepted; None accepts any.
    """

    _hidden = ("rule",)
    path: Path
    may_create: bool = False
    rule: JobFileRule | None = None


class Program(Record):
    """
    A program that reads the text from its standard input.

    Attributes:
        argv: the program and its arguments, none of them secret.
        confirms: a text that its output contains after success; "" if the exit status is enough.
    """

    argv: tuple[str, ...]
    confirms: str = ""


class Rendering(Record):
    """
    Output of a format.

    Attributes:
        text: the consumer's input.
        to: the destination; "output" is standard output or the file of `--output`,
            "log" is standard error, which CI systems read as they read standard output.
        masks: tells the CI system's log to hide the value; written first.
        then: the user's next step, or the effect; for a shell's format, a line to write.
    """

    text: str
    to: File | Program | Literal["output", "log"] = "output"
    masks: Rendering | None = None
    then: str = ""

    def __repr__(self) -> str:
        return f"Rendering(…, to={self.to!r})"


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
        folders: the file is in one of them; empty if any folder will do.
        may_create: the file is created if it does not exist.

    Raises:
        OutputError: the variable is not set, or names a location that the rule refuses.
    """
    from pathlib import Path

    if not setting(environ, variable):
        raise OutputError(f"{variable} is not set, so the value has no destination", hint=hint)
    path, repository = Path(path_setting(environ, variable)), path_setting(environ, checkout)
    others = (checkout, *(["RUNNER_TEMP"] if folders else []))
    rule = JobFileRule(variable, owner, folders, Path(repository) if repository else None, others)
    rule.refuse_name(path)
    return File(path, may_create=may_create, rule=rule)
