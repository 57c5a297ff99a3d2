"""The credentials that `exec` withholds cannot be read from our initial environment either, not by root."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import BASE
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background
    from tests.conftest import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
LOOK = 'tr "\\\\0" "\\\\n" <"/proc/$PPID/environ" || echo denied'
# After the imports, because a user may be unable to read the interpreter's folders.
AS_USER = f"""
import _ctypes, os, resource, subprocess, sys
from astro_token.child.hardening import harden_process
from astro_token.child.initial_environment import withdraw
user = int(sys.argv[1])
if os.geteuid() != user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
harden_process()
withdraw({{"SECRET", "OTHER", "EMPTY", "MISSING"}})
print(sorted({{"SECRET", "OTHER", "EMPTY"}} & {{*os.environ}}), flush=True)
subprocess.run(["/bin/sh", "-c", {LOOK!r}], stderr=subprocess.DEVNULL)
sys.stdin.read()
"""


def initial(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


@pytest.mark.parametrize("user", sorted({os.geteuid(), os.geteuid() or 65534}))
def test_withdrawn_variables_cannot_be_read(user: int) -> None:
    kept = {"SECRET_2": "kept", "PATH": BASE["PATH"], "NOT": "SECRET=kept", "NAMES": "ünïcode"}
    with subprocess.Popen(
        [sys.executable, "-Ic", AS_USER, str(user)],
        env={"SECRET": "canary", **kept, "EMPTY": "", "OTHER": "canary ünïcode"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    ) as running:
        assert running.stdout
        assert running.stdin
        assert running.stdout.readline() == b"[]\n"
        if os.geteuid() == 0:
            assert initial(running.pid) == {"SECRET": "", **kept, "EMPTY": "", "OTHER": ""}
        running.stdin.close()
        seen = running.stdout.read().decode()
    assert running.returncode == 0
    assert "canary" not in seen
    assert ("denied" if user else "SECRET_2=kept") in seen.splitlines()


def test_exec_withdraws_what_it_withholds(
    program: Program, canary: str, start: Callable[..., Background]
) -> None:
    """Also an older token, which the new one replaces; and nothing else."""
    withheld = ("AWS_SECRET_ACCESS_KEY", "ASTRO_TOKEN_ID_TOKEN", "VAULT_TOKEN", "ASTRO_API_TOKEN", "SECRET")
    kept = {"VAULT_ROLE_ID": "kept", "SECRET_2": "kept"}
    program.environ |= {**dict.fromkeys(withheld, canary), **kept}
    seen = program.work / "seen"
    ready = program.work / "ready"
    command = f"{{ {LOOK}; }} >seen 2>/dev/null; : >ready; until [ -e gate ]; do sleep 0.01; done"
    running = start("exec", "--keep-env", "VAULT_ROLE_ID", "env:SECRET", "--", "sh", "-c", command)
    wait_until(ready.exists)
    assert canary not in seen.read_text()
    with suppress(PermissionError):  # only root may: the process is not dumpable
        expected = {**program.environment(), **dict.fromkeys(withheld, "")}
        assert initial(running.pid) == expected
    (program.work / "gate").touch()
    assert running.finish().code == 0
