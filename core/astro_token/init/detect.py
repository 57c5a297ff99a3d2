"""The repository, its Astro project and CI files, and a login, without a request or a program."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.project_layout import layout_of
from astro_token.deploy.settings import configured_deployment
from astro_token.errors import ConfigError
from astro_token.init.plan import BACKENDS
from astro_token.init.systems import SYSTEMS
from astro_token.record import Record
from astro_token.system.programs import repository_of
from astro_token.system.variables import setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from astro_token.environment.manifest import Manifest
    from astro_token.init.remote import Remote

__all__ = ["AstroProject", "astro_project", "backend_of_login", "ci_of", "known_values", "repository_root"]

_DEPTH = 3
_MOST_FOLDERS = 2000
_SKIPPED = {"node_modules", "venv", "site-packages", "astro-token-setup"}


class AstroProject(Record):
    """
    Attributes:
        folder: in the repository; empty for the repository itself, and if there is no project.
        major: of the Astro CLI that it is for; None if there is no project.
        deployment: that of Astro CLI 1.x's configuration.
    """

    folder: str = ""
    major: int | None = None
    manifest: Manifest | None = None
    deployment: str | None = None


def repository_root(folder: Path) -> Path:
    """
    Return the root of the repository.

    Raises:
        ConfigError: there is none.
    """
    root = repository_of(folder)
    if root is None:
        raise ConfigError(
            f"{folder} is not in a git repository", hint="run git init, add a remote, and try again"
        )
    return Path(root)


def astro_project(root: Path, folder: Path, environ: Mapping[str, str]) -> AstroProject:
    """
    Find the Astro project: the nearest folder from here upwards, else the only one below the root.

    Raises:
        ConfigError: there are several, or the folder has a name that a script cannot use.
    """
    above = [each for each in (folder, *folder.parents) if each == root or each.is_relative_to(root)]
    candidates = next(([each] for each in above if layout_of(each, environ).majors), None)
    if candidates is None:
        candidates = [each for each in _folders(root) if layout_of(each, environ).majors]
    if len(candidates) > 1:
        listed = ", ".join(str(each.relative_to(root)) for each in candidates[:5])
        raise ConfigError(
            f"the repository has several Astro projects: {listed}",
            hint="run astro-token init in the folder of one of them",
        )
    if not candidates:
        return AstroProject()
    (project,) = candidates
    name = project.relative_to(root).as_posix().removeprefix(".")
    if not re.fullmatch(r"[A-Za-z0-9._/-]*", name) or name.startswith("-"):
        raise ConfigError(
            "the folder of the Astro project has characters other than letters, digits, . _ - and /",
            hint="rename the folder",
        )
    layout = layout_of(project, environ)
    major = min(layout.majors)
    deployment = configured_deployment(project, environ) if major == 1 else None
    return AstroProject(name, major, layout.manifest, deployment)


def _folders(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    pending = [(root, depth)]
    for _ in range(_MOST_FOLDERS):
        if not pending:
            return
        folder, left = pending.pop(0)
        yield folder
        try:
            below = sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
        except OSError:
            below = []
        if left:
            pending += [
                (each, left - 1)
                for each in below
                if not each.name.startswith(".") and each.name not in _SKIPPED
            ]


def ci_of(root: Path, remote: Remote | None) -> str | None:
    """Return the CI system that the repository's files show, else the one of the remote's host."""
    present = [
        key
        for key, system in SYSTEMS.items()
        if os.path.lexists(root / (".github/workflows" if key == "github" else system.file))
    ]
    if len(present) == 1:
        return present[0]
    of_host = {system.host: key for key, system in SYSTEMS.items() if system.host}
    return of_host.get(remote.host) if remote else None


def backend_of_login(environ: Mapping[str, str]) -> str | None:
    """Return the backend that a person has a login for, if the environment shows exactly one."""
    shown = [key for key, row in BACKENDS.items() if any(setting(environ, name) for name in row.signs)]
    return shown[0] if len(shown) == 1 else None


def known_values(backend: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values that the environment names, if they have the form that they should have."""
    values: dict[str, str] = {}
    for name, variable, form in BACKENDS[backend].variables:
        value = setting(environ, variable).rstrip("/")
        if value and re.fullmatch(form, value):
            values.setdefault(name, value)
    return values
