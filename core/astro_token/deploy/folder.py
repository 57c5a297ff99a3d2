"""
The project's folder: what `astro deploy` would find in it.

`os.path` takes what may not be looked at, or has too long a name, for what is not there; `Path` fails.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.config import text_of
from astro_token.policy.deploy_codes import Fact
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["facts", "is_project"]

_CONFIG = Path(".astro", "config.yaml")
_ENOUGH = 20_000  # names that are looked at
# Lines that leave nothing, read as a glob (Airflow 3) or as a regular expression (Airflow 2).
_EVERYTHING = frozenset({
    "*", "**", "/*", "/**", "**/*", "*.py", "**/*.py", "*.*",
    ".", ".*", ".+", "^", "$", "^.*", ".*$", "^.*$", r".*\.py", r".*\.py$", r"\.py", r"\.py$", ".py", ".py$",
})  # fmt: skip
_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,99}[A-Za-z0-9])?)(?:\[[^\]]*\])?===?([A-Za-z0-9.+!_-]{1,64})"
)
_SAME = re.compile(r"(?:\.0+)*(?:\+.*)?$")  # the end of a version that keeps it from no other one


def is_project(folder: Path, environ: Mapping[str, str]) -> bool:
    """As the Astro CLI sees it, to which the home folder is none."""
    return os.path.isfile(folder / _CONFIG) and str(folder) != environ.get("HOME")  # noqa: PTH113


def facts(folder: Path, shown: Path, environ: Mapping[str, str], *, dags: str = "dags") -> Iterator[Fact]:
    """
    Args:
        shown: the folder as the user named it, for messages.
        dags: the folder of the DAGs, seen from there.
    """
    if not is_project(folder, environ):
        home = os.path.isfile(folder / _CONFIG)  # noqa: PTH113
        yield Fact(
            "no-project",
            f"{shown} is the home folder, which is no project to the Astro CLI"
            if home
            else f"{folder} is no Astro project: it has no {_CONFIG}",
            "move the project to a folder of its own" if home else _project_near(folder, environ),
        )
        return
    yield from _dags(folder / dags, shown / dags)
    if not os.path.isfile(folder / "Dockerfile"):  # noqa: PTH113
        yield Fact(
            "no-dockerfile",
            f"{shown} has no Dockerfile: only astro deploy --dags can work",
            "add the one that astro dev init makes, or deploy DAGs only, by --dags",
        )
    yield from _requirements(folder / "requirements.txt", shown / "requirements.txt")


def _dags(dags: Path, shown: Path) -> Iterator[Fact]:
    complaint = None
    hint = "put the DAGs there; where a step before this one makes or fetches them, see whether it ran"
    if os.path.islink(dags):  # noqa: PTH114
        complaint = f"{shown} is a link, which the Astro CLI does not follow: it finds no DAGs"
        hint = "put the folder itself in the place of the link"
    elif not os.path.isdir(dags):  # noqa: PTH112
        complaint = f"there is no folder {shown}: the Astro CLI finds no DAGs"
    elif not _python(dags):
        complaint = f"{shown} has no Python file: the Astro CLI finds no DAGs"
    if complaint:
        yield Fact(
            "no-dags",
            f"{complaint}, and either ends with 0 and deploys nothing, or removes all that are deployed",
            hint,
        )
        return
    lines = [line.strip() for line in (text_of(dags / ".airflowignore") or "").splitlines()]
    if _EVERYTHING.intersection(lines) and not any(line.startswith("!") for line in lines):
        yield Fact(
            "dags-ignored",
            f"a line of {shown / '.airflowignore'} ignores every DAG: they are deployed and not shown",
            "take it out; Airflow 3 reads globs there, and Airflow 2 regular expressions",
        )


def _python(dags: Path) -> bool:
    """Whether there is a Python file, or too much to look at all of it."""
    seen, folders = 0, [str(dags)]
    while folders:  # os.walk goes down by recursion, which has an end, and reads each folder to its end
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > _ENOUGH or (entry.name.endswith(".py") and not entry.is_dir()):
                    return True
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return False


def _requirements(path: Path, shown: Path) -> Iterator[Fact]:
    """What no resolver needs to be asked about: one package at two versions. All of them are one finding."""
    versions: dict[str, set[str]] = {}
    for line in (text_of(path) or "").splitlines():
        if match := _PINNED.fullmatch("".join(line.partition("#")[0].split())):
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            versions.setdefault(name, set()).add(_SAME.sub("", match[2].lower(), count=1))
    clashes = [(name, len(wanted)) for name, wanted in versions.items() if len(wanted) > 1]
    if clashes and IDENTIFIER.fullmatch(clashes[0][0]):
        (name, count), more = clashes[0], len(clashes) - 1
        yield Fact(
            "requirements-clash",
            f"{shown} asks for {count} versions of {name}"
            f"{f', and {more} more like that' if more else ''}: the image cannot be built",
            "keep one of them",
        )


def _project_near(folder: Path, environ: Mapping[str, str]) -> str:
    above = next((each for each in folder.parents if is_project(each, environ)), None)
    if above is not None:
        return f"go to {above}, which is one, or name it by --path"
    return "name the project's folder by --path, or make this one a project by astro dev init"
