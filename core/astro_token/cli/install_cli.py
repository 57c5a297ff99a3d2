"""`install-cli`: the Astro CLI, verified, as a program of the user's."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.astro_cli.install import install
from astro_token.astro_cli.release import latest, parse_version, platform_of, published
from astro_token.cli.output import note
from astro_token.cli.progress import transfer
from astro_token.errors import ConfigError, IntegrityError, UsageError
from astro_token.log import logger
from astro_token.settings.astro_cli_pin import table
from astro_token.settings.project_file import find_project
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.settings.project_file import Project

_SECONDS = 600.0  # an archive is some 60 MB, and not every line is fast
_MOST_SECONDS = 3600.0


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    version = parse_version(arguments.version) if arguments.version is not None else None
    seconds = _SECONDS if arguments.timeout is None else arguments.timeout
    if not 0 < seconds <= _MOST_SECONDS:
        raise UsageError("the timeout is no number of seconds that can be waited", hint="give 1 to 3600")
    project = find_project(Path.cwd())
    if arguments.lock:
        return _print_lock(version, project, seconds)
    _refuse_contradiction(version, project)
    folder = _folder(arguments.to)
    machine = platform_of(sys.platform, platform.machine())
    with transfer("fetching the Astro CLI") as told:
        installed = install(
            version, machine, folder, lock=project.astro_cli, environ=os.environ, seconds=seconds, told=told
        )
    done = "installed" if installed.changed else "nothing to do:"
    note(f"{done} the Astro CLI {installed.version} ({machine}) as {installed.path}")
    _warn_of_path(installed.path)
    # As bytes: a path can have some that are no text, and the shell that takes it needs them as they are.
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(installed.path) + b"\n")
    return 0


def _print_lock(version: str | None, project: Project, seconds: float) -> int:
    """Prints what pins a release; the project's file is its owner's to change."""
    deadline = Deadline(seconds)
    lock = published(version or latest(os.environ, deadline), os.environ, deadline)
    if not lock.sha256:
        raise IntegrityError(
            f"the checksum file of release {lock.version} names no archive that can be installed here",
            hint="see the version",
        )
    shared = project.path is not None and project.path.name == "pyproject.toml"
    print(table(lock, prefix="tool.astro-token." if shared else ""), end="")
    note(f"put this into {project.path or 'astro-token.toml'} to pin release {lock.version}")
    return 0


def _refuse_contradiction(version: str | None, project: Project) -> None:
    lock = project.astro_cli
    if lock is not None and version not in {None, lock.version}:
        raise UsageError(
            f"--version {version} contradicts {project.path}, which pins {lock.version}",
            hint=f"leave --version out, or change the lock: install-cli --version {version} --lock prints it",
        )


def _folder(given: str | None) -> Path:
    if given == "":  # as a variable that is not set is: no choice of the current folder
        raise UsageError("--to names no folder", hint="give the path of a folder, or leave --to out")
    if given is not None:
        return _expanded(Path(given)).absolute()
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise ConfigError("there is no home folder to install to", hint="name a folder with --to")
    return home / ".local" / "bin"


def _expanded(path: Path) -> Path:
    """With the home in place of a ~ that no shell has replaced, as in `--to=~/bin`."""
    try:
        return path.expanduser()
    except RuntimeError:
        unknown = UsageError("--to names a home that there is not", hint="give the folder without ~")
    raise unknown


def _warn_of_path(program: Path) -> None:
    found = shutil.which(program.name)
    if found is None:
        logger.warning(
            "%s is not on PATH: add it, or call the program by its path, which is printed", program.parent
        )
    elif not Path(found).samefile(program):
        logger.warning("another %s comes first on PATH: %s", program.name, found)
