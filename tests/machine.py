"""Machines with a fault: the real command in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import BASE, PROGRAM, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Everything of a test is below this folder: every user can go through it, unlike the folders of pytest.
INSIDE = Path("/mnt")
WORK, HOME, TEMPORARY = INSIDE / "work", INSIDE / "home", INSIDE / "tmp"
NAMESPACE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")

_SCRIPT = """
set -e
{visible}
mount --bind "$OUTSIDE" /mnt
exec 8>/mnt/left
cd /mnt/work
{prepare}
set +e
({command}) 8>&-
code=$?
for folder in /mnt/work /mnt/home /mnt/tmp /dev/shm {folders}; do
  find "$folder" \\( -name 'astro-token-*' -o -name '.*.tmp' \\) ! -path '*/.config/*' 2>&- >&8
  grep -rlF "$CANARY" "$folder" 2>&- >&8
done
find /tmp -maxdepth 1 -name 'astro-token-*' 2>&- >&8
exit $code
"""


@dataclass(frozen=True)
class Result:
    """
    Attributes:
        left: private homes, temporary files, and files with the token.
    """

    code: int
    stdout: str
    stderr: str
    left: list[str] = field(default_factory=list)


def available() -> bool:
    """Tell whether this user may have namespaces."""
    return bool(shutil.which("unshare")) and not subprocess.run(
        [*NAMESPACE, "true"], capture_output=True, check=False
    ).returncode


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
        folders: str = "",
    ) -> Result:
        script = _SCRIPT.format(visible="\n".join(_visible()), prepare=prepare, command=command, folders=folders)
        environ = {**BASE, "HOME": str(HOME), "TMPDIR": str(TEMPORARY), "PROD": self.canary, **(env or {})}
        environ |= {"OUTSIDE": str(self.folder), "CANARY": self.canary}
        done = subprocess.run(
            [*NAMESPACE, "sh", "-c", script, "sh", str(PROGRAM), *arguments],
            env={name: value for name, value in environ.items() if value is not None},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        left = (self.folder / "left").read_text().split("\n")
        return Result(done.returncode, done.stdout, done.stderr, sorted(filter(None, set(left))))


def _visible() -> Iterator[str]:
    """Yield commands that let every user reach Python and this project, also below a home."""
    needed = {os.path.realpath(each) for each in (ROOT, sys.prefix, sys.base_prefix)}
    hidden: dict[Path, list[str]] = {}
    for path in sorted(needed):
        for parent in reversed(Path(path).parents):
            if not parent.stat().st_mode & stat.S_IXOTH:
                hidden.setdefault(parent, []).append(path)
                break
    for parent, paths in hidden.items():
        yield f'set -- "$@"; kept=$(mktemp -d /tmp/machine-XXXXXXXX); mount -t tmpfs -o mode=755 kept "$kept"'
        for number, path in enumerate(paths):
            yield f'mkdir "$kept/{number}"; mount --bind "{path}" "$kept/{number}"'
        yield f'mount -t tmpfs -o mode=755 over "{parent}"'
        for number, path in enumerate(paths):
            yield f'mkdir -p "{path}"; mount --move "$kept/{number}" "{path}"'
        yield 'umount "$kept"; rmdir "$kept"'
