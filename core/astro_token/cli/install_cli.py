"""`install-cli`: install a verified release of the Astro CLI for the user."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.astro_cli.install import install
from astro_token.astro_cli.release import ATTEMPTS, latest, parse_version, platform_of, published
from astro_token.cli.output import note
from astro_token.cli.progress import transfer
from astro_token.errors import ConfigError, IntegrityError, UsageError
from astro_token.log import logger
from astro_token.policy.rules import policy_from_environ
from astro_token.settings.astro_cli_pin import findings, table
from astro_token.settings.project_file import find_project
from astro_token.settings.resolve import checked_timeout
from astro_token.system.programs import search_path
from astro_token.transport.deadline import Deadline

if TYPE_CHECKING:
    import argparse

    from astro_token.child.hardening import SavedLimits
    from astro_token.settings.project_file import Project

_SECONDS = 600.0  # an archive has some 60 MB, and connections may be slow


def run(arguments: argparse.Namespace, _limits: SavedLimits) -> int:
    version = parse_version(arguments.version) if arguments.version is not None else None
    seconds = _SECONDS if arguments.timeout is None else checked_timeout(arguments.timeout)
    project = find_project()
    if arguments.lock:
        return _print_lock(version, project, seconds)
    _refuse_contradiction(version, project)
    _refuse_unlocked(project)
    folder = _folder(arguments.to)
    machine = platform_of(sys.platform, platform.machine())
    with transfer("downloading the Astro CLI") as progress:
        installed = install(
            version,
            machine,
            folder,
            lock=project.astro_cli,
            environ=os.environ,
            seconds=seconds,
            progress=progress,
        )
    done = "installed" if installed.changed else "nothing to do:"
    note(f"{done} the Astro CLI {installed.version} ({machine}) as {installed.path}")
    _warn_of_path(installed.path)
    # As bytes, because a path need not be text.
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(installed.path) + b"\n")
    return 0


def _print_lock(version: str | None, project: Project, seconds: float) -> int:
    """Print the table that pins a release, for the project file."""
    deadline = Deadline(seconds, attempts=ATTEMPTS)
    lock = published(version or latest(os.environ, deadline), os.environ, deadline)
    if not lock.sha256:
        raise IntegrityError(
            f"the checksum file of release {lock.version} names no archive of a supported platform",
            hint="check the version",
        )
    shared = project.path is not None and project.path.name == "pyproject.toml"
    print(table(lock, prefix="tool.astro-token." if shared else ""), end="")
    note(f"add this to {project.path or 'astro-token.toml'} to pin release {lock.version}")
    return 0


def _refuse_contradiction(version: str | None, project: Project) -> None:
    lock = project.astro_cli
    if lock is not None and version not in {None, lock.version}:
        raise UsageError(
            f"--version {version} contradicts {project.path}, which pins {lock.version}",
            hint=f"leave --version out, or change the pin: install-cli --version {version} --lock prints it",
        )


def _refuse_unlocked(project: Project) -> None:
    policy = project.policy.tightened(policy_from_environ(os.environ))
    for finding in findings(project.astro_cli, policy):
        raise ConfigError(finding.message, hint=finding.hint)


def _folder(given: str | None) -> Path:
    if given == "":  # from an unset variable, which must not select the working folder
        raise UsageError("--to names no folder", hint="give the path of a folder, or leave --to out")
    try:
        # Expanded here too, because a shell does not expand `--to=~/bin`.
        folder = (Path.home() / ".local" / "bin") if given is None else Path(given).expanduser()
    except RuntimeError:
        folder = None
    if given is None and (folder is None or not folder.is_absolute()):
        raise ConfigError("no home folder is set", hint="name a folder with --to")
    if folder is None:
        raise UsageError("--to names an unknown home", hint="give the folder without ~")
    return folder.absolute()


def _warn_of_path(program: Path) -> None:
    first = search_path(program.name, os.environ).path
    if first is None:
        logger.warning("%s is not on PATH: add it, or run the program by the printed path", program.parent)
    elif not Path(first).samefile(program):
        logger.warning("another %s comes first on PATH: %s", program.name, first)
