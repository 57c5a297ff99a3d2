"""
What git says of the project, asked so that a checkout runs nothing of its own.

A repository's configuration can name programs: a monitor of its files, filters, hooks, transports.
They are switched off by settings in git's environment, which go before the repository's,
and its filters are looked up first because they have names of its choosing;
a git that does not know such settings (before 2.31) is asked nothing more.
What the user's own configuration says holds: `safe.directory`, and filters such as Git LFS;
but what of it lies in the repository, as where the home does, is the repository's.
Submodules are not entered: each has a configuration of its own. No lock is taken and no index written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astro_token.deploy.folder import is_project
from astro_token.deploy.run import ask, outside, program, safe_path
from astro_token.policy.deploy_codes import Fact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["checkout", "facts", "root"]

_KEPT = (
    "HOME",
    "XDG_CONFIG_HOME",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)
_SET = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A clone without all objects would fetch what is missing, by a program of the repository's choosing.
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
_LOOKED_AT = 100
_USERS = {b"system", b"global", b"command"}
_QUESTION = [
    "config",
    "--show-scope",
    "--show-origin",
    "--name-only",
    "--null",
    "--get-regexp",
    r"^(core\.hookspath|filter\..*\.(clean|process))$",
]
_STATUS = [
    "--no-pager",
    "status",
    "--porcelain=v2",
    "--branch",
    "--no-ahead-behind",
    "--null",
    "--untracked-files=no",
    "--no-renames",
    "--ignore-submodules=dirty",
]
_LATE = "git did not answer in time"
_WAIT = "run `git status` there, which is quicker the second time, or deploy with --force"
_HINT = "run `git status` there and correct what it complains of, before the Astro CLI asks git the same"


def root(folder: Path) -> Path | None:
    """The nearest folder from here upwards that is a repository."""
    # os.path takes what may not be looked at for what is not there.
    return next((above for above in (folder, *folder.parents) if os.path.exists(above / ".git")), None)  # noqa: PTH110


def checkout(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """The folder of which others have a say, and no program is run: the repository, or a project without."""
    return root(folder) or (folder if is_project(folder, environ) else None)


def facts(folder: Path, environ: Mapping[str, str]) -> list[Fact]:
    """
    Whether the Astro CLI would find changes, and so end with 0 and deploy nothing unless forced.

    It looks at the whole repository, not at the project's folder only.
    """
    top = root(folder)
    found = _found(folder, top, environ) if top else None
    return [found] if found else []


def _found(folder: Path, top: Path, environ: Mapping[str, str]) -> Fact | None:
    git = program("git", environ)
    if git is None:
        return _unknown(
            "git is not on PATH", "install git: without it the Astro CLI deploys whatever lies there"
        )
    if not outside(git, top):
        return _unknown("the git on PATH lies in the repository", "install git outside of it")
    clean = _environment(environ, top)
    asked = ask([str(git), *_QUESTION], clean, folder)
    if asked is None:
        return _unknown(_LATE, _WAIT)
    parts = asked.output.split(b"\0")
    settings = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    # One that does not know our settings would run the repository's programs.
    known = any((scope, name) == (b"command", b"core.hookspath") for scope, _, name in settings)
    if asked.code not in {0, 1} or not known:
        return _unknown("git is too old, or fails", "run `git --version` there: it has to be 2.31 or later")
    own = _own_filters(settings, folder, top)
    clean = _with(clean, [(f"filter.{name}.{key}", value) for name in own for key, value in _FILTER_OFF])
    status = ask([str(git), *_STATUS], clean, folder)
    if status is None:
        return _unknown(_LATE, _WAIT)
    lines = status.output.split(b"\0")
    changed = [line for line in lines if line[:2] in {b"1 ", b"2 ", b"u "}]
    if status.code not in {0, None}:
        return _unknown("git refuses the repository: it is damaged, or another user's")
    if b"# branch.oid (initial)" in lines:
        return Fact(
            "uncommitted",
            "the repository has no commit yet: the Astro CLI ends with 0 and deploys nothing",
            "commit first, or deploy with --force",
        )
    if changed and own and not _certain(changed, own, git, clean, top):
        return _unknown("there seem to be some, but the repository's own filters are not run here")
    if changed or status.code is None:
        count = "1 tracked file has" if len(changed) == 1 else f"{len(changed)} tracked files have"
        return Fact(
            "uncommitted",
            f"{count} uncommitted changes: the Astro CLI ends with 0 and deploys nothing",
            "commit or restore them (git status names them), or deploy with --force",
        )
    return None


def _certain(changed: list[bytes], own: list[str], git: Path, clean: Mapping[str, str], top: Path) -> bool:
    """Whether any of them has changed whatever a filter of the repository makes of its content."""
    if not all(line.startswith(b"1 .M") for line in changed):  # staged, removed, or in conflict
        return True
    names = [os.fsdecode(line.split(b" ", 8)[8]) for line in changed[:_LOOKED_AT]]
    answer = ask([str(git), "check-attr", "-z", "filter", "--", *names], clean, top)
    filters = answer.output.split(b"\0")[2::3] if answer and answer.code == 0 else []
    return any(os.fsdecode(name) not in own for name in filters)


def _unknown(why: str, hint: str = _HINT) -> Fact:
    return Fact("git-unknown", f"it cannot be told whether there are uncommitted changes: {why}", hint)


def _own_filters(settings: list[tuple[bytes, bytes, bytes]], folder: Path, top: Path) -> list[str]:
    """The filters that the repository's configuration names, also where the user's names them too."""
    named = [
        name
        for scope, origin, name in settings
        if name.startswith(b"filter.") and (scope not in _USERS or _lies_in(origin, folder, top))
    ]
    found = [name.partition(b".")[2].rpartition(b".")[0] for name in named]
    return [os.fsdecode(name) for name in dict.fromkeys(found)]


def _lies_in(origin: bytes, folder: Path, top: Path) -> bool:
    """Whether a setting is of a file in the repository, whose name git tells as seen from the folder."""
    kind, _, name = origin.partition(b":")
    return kind == b"file" and not outside(folder / os.fsdecode(name), top)


def _environment(environ: Mapping[str, str], top: Path) -> dict[str, str]:
    """No variable of git's that would point it elsewhere, and no program of the repository on PATH."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return _with({**kept, **_given(environ), **_SET, "PATH": safe_path(environ, top)}, _SWITCHED_OFF)


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings in the environment, by which CI systems declare safe folders."""
    names = ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
    count = environ.get("GIT_CONFIG_COUNT", "")
    good = count.isascii() and count.isdigit() and len(count) <= len("9999")
    return {name: text for name, text in environ.items() if name.startswith(names)} if good else {}


def _with(environ: Mapping[str, str], settings: list[tuple[str, str]]) -> dict[str, str]:
    start = int(environ.get("GIT_CONFIG_COUNT", "0"))
    added = {"GIT_CONFIG_COUNT": str(start + len(settings))}
    for number, (key, value) in enumerate(settings, start):
        added |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**environ, **added}
