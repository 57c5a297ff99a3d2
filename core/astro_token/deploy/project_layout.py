"""
The layout of the project's folder, as `astro deploy` reads it: 1.x needs `.astro/config.yaml`, and 2.0 a
`pyproject.toml` with `[tool.astro]`.

`os.path` treats a path that may not be read, or has too long a name, as missing; `Path` raises an error.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from astro_token.environment.cli_config import CONFIG_FILE
from astro_token.environment.manifest import MANIFEST, read_manifest
from astro_token.policy.codes import MAJORS
from astro_token.policy.deploy_codes import Finding
from astro_token.record import Record
from astro_token.system.distributions import normalized
from astro_token.system.files import open_regular
from astro_token.system.variables import setting
from astro_token.token import is_identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from astro_token.environment.manifest import Manifest

__all__ = ["Layout", "findings", "layout_of", "major_of"]

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


class Layout(Record):
    """
    Attributes:
        majors: the major versions of the Astro CLI to which the folder is a project; empty if it is none.
    """

    majors: frozenset[int]
    manifest: Manifest | None = None

    def major(self, version: str | None) -> int:
        """
        Choose the version by which the project is judged.

        Args:
            version: of the installed Astro CLI, which decides if the folder is a project to both;
                if it is unknown, the stricter checks of 1.x apply.
        """
        if len(self.majors) == 1:
            return min(self.majors)
        return major_of(version) or min(MAJORS)

    def target_manifest(self, version: str | None) -> Manifest | None:
        """Return the manifest unless the Astro CLI is known not to read it."""
        return None if len(self.majors) > 1 and major_of(version) == 1 else self.manifest


def layout_of(folder: Path, environ: Mapping[str, str]) -> Layout:
    """Recognize a project as the Astro CLI does. 1.x never takes the home folder for one."""
    manifest = read_manifest(folder)
    is_first = os.path.isfile(folder / CONFIG_FILE) and str(folder) != setting(environ, "HOME")  # noqa: PTH113
    return Layout(frozenset({1} if is_first else ()) | ({2} if manifest else set()), manifest)


def major_of(version: str | None) -> int | None:
    """Parse the major version of a release; None for a custom build."""
    match = re.match(r"([0-9]{1,6})\.", version or "")
    return min(max(int(match[1]), min(MAJORS)), max(MAJORS)) if match else None


def findings(
    folder: Path, shown: Path, environ: Mapping[str, str], layout: Layout, major: int, *, dags: str = "dags"
) -> Iterator[Finding]:
    """
    Examine the folder.

    Args:
        shown: the folder as the user named it, for messages.
        major: of the Astro CLI.
        dags: the folder of the DAGs.
    """
    if not layout.majors:
        is_home = os.path.isfile(folder / CONFIG_FILE)  # noqa: PTH113
        yield Finding(
            "no-project",
            f"{shown} is the home folder, which the Astro CLI does not accept as a project"
            if is_home
            else f"{folder} is not an Astro project: "
            f"it has no {CONFIG_FILE}, and no {MANIFEST} with [tool.astro]",
            "move the project to a folder of its own" if is_home else _project_hint(folder, environ),
        )
        return
    yield from _dags(folder / dags, shown / dags, major)
    if not os.path.isfile(folder / "Dockerfile"):  # noqa: PTH113
        yield Finding("no-dockerfile", f"{shown} has no Dockerfile: only astro deploy --dags can work")
    yield from _requirements(folder / "requirements.txt", shown / "requirements.txt")


def _dags(dags: Path, shown: Path, major: int) -> Iterator[Finding]:
    complaint = hint = ""
    if major == 1 and os.path.islink(dags):  # noqa: PTH114
        complaint = f"{shown} is a link, which the Astro CLI does not follow: it finds no DAGs"
        hint = "replace the link by the folder itself"
    elif not os.path.isdir(dags):  # noqa: PTH112
        complaint = f"the folder {shown} is missing: the Astro CLI finds no DAGs"
    elif not _has_python(dags):
        complaint = f"{shown} has no Python file: the Astro CLI finds no DAGs"
    if complaint:
        result = (
            "either ends with 0 and deploys nothing, or removes all that are deployed"
            if major == 1
            else "deploys none"
        )
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
            name = normalized(match[1])
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
    above = next((each for each in folder.parents if layout_of(each, environ).majors), None)
    if above is not None:
        return f"go to {above}, which is a project, or name it with --path"
    return "name the project's folder with --path"
