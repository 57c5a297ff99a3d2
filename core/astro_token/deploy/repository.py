"""
What git says of the project, asked so that a checkout runs nothing of its own.

A repository's configuration can name programs: a monitor of its files, filters, hooks, transports.
They are switched off by settings in git's environment, which go before the repository's,
and its filters are looked up first because they have names of its choosing.
What the user's own configuration says holds: `safe.directory`, and filters such as Git LFS.
Submodules are not entered: each has a configuration of its own. No lock is taken and no index written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from astro_token.deploy.codes import Fact
from astro_token.deploy.run import ask, outside, program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["facts", "root"]

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
_FILTERS = [
    "config",
    "--show-scope",
    "--name-only",
    "--null",
    "--get-regexp",
    r"^filter\..*\.(clean|process)$",
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
_HINT = "run `git status` there and correct what it complains of, before the Astro CLI asks git the same"


def root(folder: Path) -> Path | None:
    """The nearest folder from here upwards that is a repository."""
    # os.path takes what may not be looked at for what is not there.
    return next((above for above in (folder, *folder.parents) if os.path.exists(above / ".git")), None)  # noqa: PTH110


def facts(folder: Path, environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Whether the Astro CLI would find changes, and so end with 0 and deploy nothing unless forced.

    It looks at the whole repository, not at the project's folder only.
    """
    top = root(folder)
    if top is None:
        return
    git = program("git", environ)
    if git is None or not outside(git, top):
        yield _unknown("git is not on PATH" if git is None else "the git on PATH lies in the repository")
        return
    clean = _environment(environ, top)
    filters = ask([str(git), *_FILTERS], clean, folder)
    if filters is None or filters.code not in {0, 1}:
        yield _unknown("git did not answer in time" if filters is None else "git is too old, or fails")
        return
    own = _own_filters(filters.output)
    clean = _with(clean, [(f"filter.{name}.{key}", value) for name in own for key, value in _FILTER_OFF])
    status = ask([str(git), *_STATUS], clean, folder)
    if status is None:
        yield _unknown("git did not answer in time")
        return
    lines = status.output.split(b"\0")
    changed = [line for line in lines if line[:2] in {b"1 ", b"2 ", b"u "}]
    if status.code not in {0, None}:
        yield _unknown("git refuses the repository: it is damaged, or another user's")
    elif b"# branch.oid (initial)" in lines:
        yield Fact(
            "uncommitted",
            "the repository has no commit yet: the Astro CLI ends with 0 and deploys nothing",
            "commit first, or deploy with --force",
        )
    elif changed and own and not _certain(changed, own, git, clean, top):
        yield _unknown("there seem to be some, but the repository's own filters are not run here")
    elif changed or status.code is None:
        count = "1 tracked file has" if len(changed) == 1 else f"{len(changed)} tracked files have"
        yield Fact(
            "uncommitted",
            f"{count} uncommitted changes: the Astro CLI ends with 0 and deploys nothing",
            "commit or restore them (git status names them), or deploy with --force",
        )


def _certain(changed: list[bytes], own: list[str], git: Path, clean: Mapping[str, str], top: Path) -> bool:
    """Whether any of them has changed whatever a filter of the repository makes of its content."""
    if not all(line.startswith(b"1 .M") for line in changed):  # staged, removed, or in conflict
        return True
    names = [os.fsdecode(line.split(b" ", 8)[8]) for line in changed[:_LOOKED_AT]]
    answer = ask([str(git), "check-attr", "-z", "filter", "--", *names], clean, top)
    filters = answer.output.split(b"\0")[2::3] if answer and answer.code == 0 else []
    return any(os.fsdecode(name) not in own for name in filters)


def _unknown(why: str) -> Fact:
    return Fact("git-unknown", f"it cannot be told whether there are uncommitted changes: {why}", _HINT)


def _own_filters(output: bytes) -> list[str]:
    """The filters that the repository's configuration names, also where the user's names them too."""
    parts = output.split(b"\0")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    found = [name.partition(b".")[2].rpartition(b".")[0] for scope, name in pairs if scope not in _USERS]
    return [os.fsdecode(name) for name in dict.fromkeys(found)]


def _environment(environ: Mapping[str, str], top: Path) -> dict[str, str]:
    """No variable of git's that would point it elsewhere, and no program of the repository on PATH."""
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    safe = [folder for folder in folders if os.path.isabs(folder) and outside(Path(folder), top)]  # noqa: PTH117
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return _with({**kept, **_given(environ), **_SET, "PATH": os.pathsep.join(safe)}, _SWITCHED_OFF)


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
