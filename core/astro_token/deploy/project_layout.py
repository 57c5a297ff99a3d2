"""
The layout of the project's folder, as `astro deploy` reads it.

`os.path` treats a path that may not be read, or has too long a name, as missing; `Path` raises an error.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.config import text_of
from astro_token.policy.deploy_codes import Finding
from astro_token.token import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["findings", "is_project"]

_CONFIG = Path(".astro", "config.yaml")
_MAX_ENTRIES = 20_000
# Lines that ignore every DAG, as a glob (Airflow 3) or as a regular expression (Airflow 2).
_EVERYTHING = frozenset({
    "*", "**", "/*", "/**", "**/*", "*.py", "**/*.py", "*.*",
    ".", ".*", ".+", "^", "$", "^.*", ".*$", "^.*$", r".*\.py", r".*\.py$", r"\.py", r"\.py$", ".py", ".py$",
})  # fmt: skip
_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,99}[A-Za-z0-9])?)(?:\[[^\]]*\])?===?([A-Za-z0-9.+!_-]{1,64})"
)
_INSIGNIFICANT = re.compile(r"(?:\.0+)*(?:\+.*)?$")  # the end of a version: 1.0 and 1.0.0+local are equal


def is_project(folder: Path, environ: Mapping[str, str]) -> bool:
    """Tell whether the Astro CLI takes the folder for a project; it never does so with the home folder."""
    return os.path.isfile(folder / _CONFIG) and str(folder) != environ.get("HOME")  # noqa: PTH113


def findings(
    folder: Path, shown: Path, environ: Mapping[str, str], *, dags: str = "dags"
) -> Iterator[Finding]:
    """
    Examine the files that a deploy needs.

    Args:
        shown: the folder as the user named it, for messages.
        dags: the folder of the DAGs, relative to it.
    """
    if not is_project(folder, environ):
        is_home = os.path.isfile(folder / _CONFIG)  # noqa: PTH113
        yield Finding(
            "no-project",
            f"{shown} is the home folder, which the Astro CLI does not accept as a project"
            if is_home
            else f"{folder} is not an Astro project: it has no {_CONFIG}",
            "move the project to a folder of its own" if is_home else _project_hint(folder, environ),
        )
        return
    yield from _dags(folder / dags, shown / dags)
    if not os.path.isfile(folder / "Dockerfile"):  # noqa: PTH113
        yield Finding(
            "no-dockerfile",
            f"{shown} has no Dockerfile: only astro deploy --dags can work",
            "add the one that astro dev init creates, or deploy DAGs only, with --dags",
        )
    yield from _requirements(folder / "requirements.txt", shown / "requirements.txt")


def _dags(dags: Path, shown: Path) -> Iterator[Finding]:
    complaint = None
    hint = "put the DAGs there; if an earlier step creates or fetches them, check that it ran"
    if os.path.islink(dags):  # noqa: PTH114
        complaint = f"{shown} is a link, which the Astro CLI does not follow: it finds no DAGs"
        hint = "replace the link by the folder itself"
    elif not os.path.isdir(dags):  # noqa: PTH112
        complaint = f"the folder {shown} is missing: the Astro CLI finds no DAGs"
    elif not _has_python(dags):
        complaint = f"{shown} has no Python file: the Astro CLI finds no DAGs"
    if complaint:
        yield Finding(
            "no-dags",
            f"{complaint}, and either ends with 0 and deploys nothing, or removes all that are deployed",
            hint,
        )
        return
    lines = [line.strip() for line in (text_of(dags / ".airflowignore") or "").splitlines()]
    if _EVERYTHING.intersection(lines) and not any(line.startswith("!") for line in lines):
        yield Finding(
            "dags-ignored",
            f"a line of {shown / '.airflowignore'} ignores every DAG: they are deployed and not shown",
            "remove it; Airflow 3 reads globs there, and Airflow 2 regular expressions",
        )


def _has_python(dags: Path) -> bool:
    """Tell whether there is a Python file; true also if there are too many entries to examine."""
    seen, folders = 0, [str(dags)]
    while folders:  # os.walk descends by recursion, which has a limit, and reads each folder completely
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > _MAX_ENTRIES or (entry.name.endswith(".py") and not entry.is_dir()):
                    return True
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return False


def _requirements(path: Path, shown: Path) -> Iterator[Finding]:
    """Report packages that are pinned to two versions, all in one finding. No resolver is needed for that."""
    versions: dict[str, set[str]] = {}
    for line in (text_of(path) or "").splitlines():
        if match := _PINNED.fullmatch("".join(line.partition("#")[0].split())):
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            versions.setdefault(name, set()).add(_INSIGNIFICANT.sub("", match[2].lower(), count=1))
    clashes = [(name, len(pins)) for name, pins in versions.items() if len(pins) > 1]
    if clashes and IDENTIFIER.fullmatch(clashes[0][0]):
        (name, count), more = clashes[0], len(clashes) - 1
        yield Finding(
            "requirements-clash",
            f"{shown} requires {count} versions of {name}"
            f"{f', and {more} more like that' if more else ''}: the image cannot be built",
            "keep one of them",
        )


def _project_hint(folder: Path, environ: Mapping[str, str]) -> str:
    above = next((each for each in folder.parents if is_project(each, environ)), None)
    if above is not None:
        return f"go to {above}, which is a project, or name it with --path"
    return "name the project's folder with --path, or create a project here with astro dev init"
