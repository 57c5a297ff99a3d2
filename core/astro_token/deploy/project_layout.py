"""
The layout of the project's folder, as `astro deploy` reads it.

`os.path` treats a path that may not be read, or has too long a name, as missing; `Path` raises an error.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.environment.cli_config import CONFIG_FILE
from astro_token.policy.deploy_codes import Finding
from astro_token.system.files import open_regular
from astro_token.system.variables import setting
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["findings", "is_project"]

_MAX_BYTES = 256 * 1024
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
    """Test a folder as the Astro CLI does, which never takes the home folder for a project."""
    return os.path.isfile(folder / CONFIG_FILE) and str(folder) != setting(environ, "HOME")  # noqa: PTH113


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
        is_home = os.path.isfile(folder / CONFIG_FILE)  # noqa: PTH113
        yield Finding(
            "no-project",
            f"{shown} is the home folder, which the Astro CLI does not accept as a project"
            if is_home
            else f"{folder} is not an Astro project: it has no {CONFIG_FILE}",
            "move the project to a folder of its own" if is_home else _project_hint(folder, environ),
        )
        return
    yield from _dags(folder / dags, shown / dags)
    if not os.path.isfile(folder / "Dockerfile"):  # noqa: PTH113
        yield Finding("no-dockerfile", f"{shown} has no Dockerfile: only astro deploy --dags can work")
    yield from _requirements(folder / "requirements.txt", shown / "requirements.txt")


def _dags(dags: Path, shown: Path) -> Iterator[Finding]:
    complaint = hint = ""
    if os.path.islink(dags):  # noqa: PTH114
        complaint = f"{shown} is a link, which the Astro CLI does not follow: it finds no DAGs"
        hint = "replace the link by the folder itself"
    elif not os.path.isdir(dags):  # noqa: PTH112
        complaint = f"the folder {shown} is missing: the Astro CLI finds no DAGs"
    elif not _has_python(dags):
        complaint = f"{shown} has no Python file: the Astro CLI finds no DAGs"
    if complaint:
        result = "either ends with 0 and deploys nothing, or removes all that are deployed"
        yield Finding("no-dags", f"{complaint}, and {result}", hint)
        return
    ignore = dags / ".airflowignore"
    lines = [line.strip() for line in text_of(ignore).splitlines()]
    if _EVERYTHING.intersection(lines) and not any(line.startswith("!") for line in lines):
        yield Finding(
            "dags-ignored",
            f"a line of {shown / ignore.name} ignores every DAG: they are deployed and not shown",
        )


def _has_python(dags: Path) -> bool:
    """Search for a Python file; true also if there are too many entries to examine."""
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
    for line in text_of(path).splitlines():
        if match := _PINNED.fullmatch("".join(line.partition("#")[0].split())):
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            versions.setdefault(name, set()).add(_INSIGNIFICANT.sub("", match[2].lower(), count=1))
    clashes = [(name, len(pins)) for name, pins in versions.items() if len(pins) > 1]
    if clashes and is_identifier(clashes[0][0]):
        (name, count), more = clashes[0], len(clashes) - 1
        yield Finding(
            "requirements-clash",
            f"{shown} requires {count} versions of {name}"
            f"{f', and {more} more like that' if more else ''}: the image cannot be built",
        )


def text_of(path: Path) -> str:
    """Read a small text file; empty if it is missing, cannot be read or is too long."""
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError:
        return ""
    return "" if len(data) > _MAX_BYTES else data.decode("utf-8", errors="replace").removeprefix("\ufeff")


def _project_hint(folder: Path, environ: Mapping[str, str]) -> str:
    above = next((each for each in folder.parents if is_project(each, environ)), None)
    if above is not None:
        return f"go to {above}, which is a project, or name it with --path"
    return "name the project's folder with --path, or create a project here with astro dev init"
