"""
Uncommitted changes, according to a git that starts no program of the checkout.

A repository's configuration can name programs: a monitor of its files, filters, hooks, transports.
Settings in git's environment switch them off, and take precedence over the repository's.
Its filters are listed first, because the repository chooses their names.
A git that does not support such settings (before 2.31) gets no further command.
The user's own configuration stays in force: `safe.directory`, and filters such as Git LFS;
but files of it that lie in the repository, for example because the home does, count as the repository's.
Submodules are not entered: each has a configuration of its own. No lock is taken and no index written.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from astro_token.policy.deploy_codes import Finding
from astro_token.system.programs import (
    in_checkout,
    lies_in,
    repository_of,
    search_path,
    trusted_path,
)
from astro_token.system.running import Completed, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["findings"]

SECONDS = 5.0
_MAX_BYTES = 256 * 1024

_KEPT = (
    "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
    "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)  # fmt: skip
_SET = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A partial clone would fetch missing objects with a program that the repository chooses.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
_SWITCHED_OFF = [
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.hooksPath", os.devnull),
    ("safe.bareRepository", "explicit"),
]
_FILTER_OFF = [("clean", ""), ("process", ""), ("required", "false")]
_MAX_FILES = 100
_USER_SCOPES = {b"system", b"global", b"command"}
_LIST_PROGRAMS = [
    "config", "--show-scope", "--show-origin", "--name-only", "--null", "--get-regexp",
    r"^(core\.hookspath|filter\..*\.(clean|process))$",
]  # fmt: skip
_STATUS = [
    "--no-pager", "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--null",
    "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty",
]  # fmt: skip
_LATE = "git did not end in time"
_WAIT = "run git status there, which is quicker the second time, or deploy with --force"


def findings(folder: Path, environ: Mapping[str, str]) -> list[Finding]:
    """
    Report changes in the repository, with which the Astro CLI ends with 0 and deploys nothing unless forced.

    Changes outside the project's folder count, too.
    """
    top = repository_of(folder)
    finding = _finding(folder, top, environ) if top else None
    return [finding] if finding else []


def _finding(folder: Path, top: str, environ: Mapping[str, str]) -> Finding | None:
    git = search_path("git", environ).path
    if git is None:
        return _unknown(
            "git is not on PATH", "install git: without it the Astro CLI deploys whatever is there"
        )
    if in_checkout(git, environ, [top]):  # the Astro CLI would start it
        return _unknown("the git on PATH lies in the repository", "take its folder out of PATH")
    clean = _environment(environ, top)
    listed = _run([git, *_LIST_PROGRAMS], clean, folder)
    if listed is None:
        return _unknown(_LATE, _WAIT)
    parts = listed.output.split(b"\0")
    settings = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    # A git that ignores our settings would run the repository's programs.
    obeys = any((scope, name) == (b"command", b"core.hookspath") for scope, _, name in settings)
    if listed.code not in {0, 1} or not obeys:
        return _unknown("git is too old, or fails", "run git --version there: 2.31 or later is required")
    filters = _repository_filters(settings, folder, top)
    clean = _with(clean, [(f"filter.{name}.{key}", value) for name in filters for key, value in _FILTER_OFF])
    status = _run([git, *_STATUS], clean, folder)
    if status is None:
        return _unknown(_LATE, _WAIT)
    lines = status.output.split(b"\0")
    changed = [line for line in lines if line[:2] in {b"1 ", b"2 ", b"u "}]
    if status.code != 0 and not status.too_long:
        if os.stat(top).st_uid != os.geteuid():  # noqa: PTH116
            trust = shlex.join(["git", "config", "--global", "--add", "safe.directory", str(top)])
            return _unknown("git refuses the repository of another user", trust)
        return _unknown("git refuses the repository: it is damaged")
    if b"# branch.oid (initial)" in lines:
        return Finding(
            "uncommitted",
            "the repository has no commit yet: the Astro CLI ends with 0 and deploys nothing",
            "commit first, or deploy with --force",
        )
    if changed and filters and not _certain(changed, filters, git, clean, top):
        return _unknown("there seem to be some, but the repository's own filters are not run here")
    if changed or status.too_long:
        count = "1 tracked file has" if len(changed) == 1 else f"{len(changed)} tracked files have"
        return Finding(
            "uncommitted", f"{count} uncommitted changes: the Astro CLI ends with 0 and deploys nothing"
        )
    return None


def _run(argv: list[str], environ: Mapping[str, str], folder: str | Path) -> Completed | None:
    """Return None if git cannot be started, or does not end in time."""
    done = run_program(argv, environ, seconds=SECONDS, limit=_MAX_BYTES, folder=folder)
    return None if done is None or done.late else done


def _certain(changed: list[bytes], filters: list[str], git: str, clean: Mapping[str, str], top: str) -> bool:
    """Search for a file that has changed regardless of the repository's filters."""
    if not all(line.startswith(b"1 .M") for line in changed):  # staged, removed, or in conflict
        return True
    names = [os.fsdecode(line.split(b" ", 8)[8]) for line in changed[:_MAX_FILES]]
    done = _run([git, "check-attr", "-z", "filter", "--", *names], clean, top)
    used = done.output.split(b"\0")[2::3] if done and done.code == 0 else []
    return any(os.fsdecode(name) not in filters for name in used)


def _unknown(reason: str, hint: str = "") -> Finding:
    return Finding("git-unknown", f"uncommitted changes cannot be detected: {reason}", hint)


def _repository_filters(settings: list[tuple[bytes, bytes, bytes]], folder: Path, top: str) -> list[str]:
    """List the filters that the repository's configuration names, even if the user's names them too."""
    names = [
        name
        for scope, origin, name in settings
        if name.startswith(b"filter.") and (scope not in _USER_SCOPES or _of_repository(origin, folder, top))
    ]
    filters = [name.partition(b".")[2].rpartition(b".")[0] for name in names]
    return [os.fsdecode(name) for name in dict.fromkeys(filters)]


def _of_repository(origin: bytes, folder: Path, top: str) -> bool:
    """Test if a setting's file lies in the repository; git names it relative to the folder."""
    kind, _, name = origin.partition(b":")
    return kind == b"file" and lies_in(folder / os.fsdecode(name), [top])


def _environment(environ: Mapping[str, str], top: str) -> dict[str, str]:
    """Build git's environment, without variables that name a repository or a program."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    path = trusted_path(environ, [top])
    return _with({**kept, **_settings_from(environ), **_SET, "PATH": path}, _SWITCHED_OFF)


def _settings_from(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep git's settings in the environment, by which CI systems declare safe folders."""
    names = ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
    count = environ.get("GIT_CONFIG_COUNT", "")
    valid = count.isascii() and count.isdigit() and len(count) <= len("9999")
    return {name: text for name, text in environ.items() if name.startswith(names)} if valid else {}


def _with(environ: Mapping[str, str], settings: list[tuple[str, str]]) -> dict[str, str]:
    start = int(environ.get("GIT_CONFIG_COUNT", "0"))
    added = {"GIT_CONFIG_COUNT": str(start + len(settings))}
    for number, (key, value) in enumerate(settings, start):
        added |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**environ, **added}
