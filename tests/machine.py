"""Machines with a fault: the real command in a mount namespace of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import pytest

from tests.conftest import BASE, PROGRAM, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_CI = bool(os.environ.get("CI"))
IS_ROOT = os.geteuid() == 0
# In CI such a test fails instead: nobody would notice that it is skipped.
only_root = pytest.mark.skipif(not IS_ROOT and not IN_CI, reason="needs a second user")
# The test's folder is mounted here. Every user can go through it, unlike through the folders of pytest.
INSIDE = "/mnt"
TEMPORARY = ("/dev/shm", "/mnt/tmp", "/tmp", "/var/tmp")
OTHER = 54321  # a user without an entry in passwd
COUNTED = 60_000 + os.getpid() % 5000  # another one, whose processes are those of one run only

_NAMESPACE = ("unshare", "--mount", *(() if IS_ROOT else ("--user", "--map-root-user")))
_MARK = "\0"
_SCRIPT = """
set -e
{visible}
mount --bind {outside} /mnt
for folder in /dev/shm /var/tmp /mnt/tmp; do mount -t tmpfs -o size=1m,mode=1777 own $folder; done
{own_tmp}
cd /mnt/work
{prepare}
set +e
({command})
code=$?
printf '\\0'
find /mnt /dev/shm /var/tmp \\( -name 'astro-token-*' -o -name '.*.tmp' \\) ! -path '*/.config/*' 2>&-
find /tmp -maxdepth 1 -name 'astro-token-*' 2>&-
grep -rlF "$CANARY" /mnt /dev/shm /var/tmp 2>&-
exit $code
"""


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        left: private homes, temporary files, and files that contain the token.
    """

    code: int
    stdout: str
    stderr: str
    left: list[str] = field(default_factory=list)


@cache
def available() -> bool:
    """Tell whether this user may create namespaces."""
    try:
        return not subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


@dataclass
class Machine:
    """Runs the command on a machine that a shell script prepares."""

    folder: Path
    canary: str

    def __call__(
        self,
        *arguments: str,
        prepare: str = "",
        command: str = '"$@"',
        env: Mapping[str, str | None] | None = None,
        stdin: str = "",
        user: int | None = None,
    ) -> Result:
        """
        Run the command.

        Args:
            prepare: shell commands in the namespace, in the working folder.
            command: the shell command that runs the arguments.
            env: variables to add; None removes one.
            user: that runs the command, in place of the current one.
        """
        if user is not None:
            command = command.replace('"$@"', f'setpriv --reuid={user} --regid={user} --clear-groups "$@"')
        script = _SCRIPT.format(
            visible="\n".join(cover(parent) for parent in _hidden()),
            own_tmp=cover("/tmp", 1777),
            outside=quote(str(self.folder)),
            prepare=prepare,
            command=command,
        )
        environ: dict[str, str | None] = {**BASE, "HOME": f"{INSIDE}/home", "TMPDIR": f"{INSIDE}/tmp"}
        environ |= {"PROD": self.canary, "CANARY": self.canary, **(env or {})}
        done = subprocess.run(
            [*_NAMESPACE, "sh", "-c", script, "sh", str(PROGRAM), *arguments],
            env={name: value for name, value in environ.items() if value is not None},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        assert _MARK in done.stdout, f"the machine was not prepared: {done.stderr}"
        stdout, _, left = done.stdout.rpartition(_MARK)
        return Result(done.returncode, stdout, done.stderr, sorted({*left.splitlines()}))


@cache
def _needed() -> set[str]:
    return {os.path.realpath(each) for each in (ROOT, sys.prefix, sys.base_prefix)}


@cache
def _hidden() -> set[str]:
    """List folders, such as /root, that keep other users from Python and this project."""
    parents = {parent for each in _needed() for parent in Path(each).parents}
    closed = [parent for parent in parents if not parent.stat().st_mode & stat.S_IXOTH]
    return {str(each) for each in closed if not set(each.parents) & set(closed)}


def cover(folder: str, mode: int = 755) -> str:
    """Return commands that empty a folder for everyone. Only Python and this project stay."""
    kept = sorted(each for each in _needed() if Path(each).is_relative_to(folder))
    lines = ["mount -t tmpfs -o mode=755 kept /mnt"]
    for number, path in enumerate(kept):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {quote(path)} /mnt/{number}"]
    lines.append(f"mount -t tmpfs -o size=1m,mode={mode} cover {quote(folder)}")
    for number, path in enumerate(kept):
        lines += [f"mkdir -p {quote(path)}", f"mount --move /mnt/{number} {quote(path)}"]
    return "\n".join([*lines, "umount /mnt"])


def full(*folders: str) -> str:
    """Return commands that fill the file systems for temporary files."""
    return "\n".join(f"head -c 9999999 /dev/zero 2>&- >{folder}/fill || true" for folder in folders)


def fill(folder: str) -> str:
    """Return commands that move a folder of the test to a file system without space."""
    new = f"{folder}.new"
    mount = f"mkdir -p {new}; mount -t tmpfs -o size=128k,mode=755 full {new}; cp -a {folder}/. {new}/"
    return f"{mount}; mount --move {new} {folder}\n{full(folder)}\ncd /mnt/work"


def read_only(*folders: str) -> str:
    """Return commands that make file systems read-only; without arguments all of them."""
    folders = folders or ("/", "/mnt", *TEMPORARY)
    return "; ".join(f"mount -o remount,bind,ro {each}" for each in folders)


def limited(limit: str, amount: int, *argv: str) -> list[str]:
    """
    The command line of a program with a limit of the module `resource`.

    `preexec_fn` would make gRPC print a line, if this process has used it.
    """
    code = (
        f"import os, resource, sys; resource.setrlimit(resource.{limit}, ({amount}, {amount})); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-ISc", code, *argv]
