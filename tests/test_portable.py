"""What works on Windows, in a process from which the names that Windows lacks are hidden."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "tests" / "portable.py"
POSIX_MODULES = ("fcntl", "pwd", "grp", "resource", "termios", "pty", "posix")
POSIX_NAMES = {
    "os": (
        *(
            "posix_spawn",
            "fork",
            "register_at_fork",
            "getuid",
            "geteuid",
            "getgid",
            "getpgrp",
            "killpg",
            "uname",
        ),
        *("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "fchmod", "chown", "sysconf"),
        *("tcgetpgrp", "openpty", "mkfifo", "WIFSTOPPED", "statvfs"),
    ),
    "signal": (
        *("SIGHUP", "SIGQUIT", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGWINCH", "SIGCHLD", "SIGALRM"),
        *("setitimer", "pthread_sigmask", "pthread_kill", "sigwait"),
    ),
}


def portable(*arguments: str) -> tuple[int, list[str], str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_export_check_and_the_library_need_nothing_that_only_posix_has() -> None:
    code, lines, stderr = portable(str(SCRIPT), "--hidden")
    assert (0, "") == (code, stderr)
    assert "19 passed" == lines[-1]
    assert {"ok  PowerShell", "ok  cmd", "ok  GitHub", "ok  exec is refused", "ok  library"} <= set(lines)


def test_what_only_posix_has_is_hidden() -> None:
    """Else the test before this one would prove nothing."""
    program = f"""
import os, signal, sys, runpy
runpy.run_path({str(SCRIPT)!r})["hide"]()
left = [name for name in {POSIX_MODULES!r} if sys.modules.get(name, name) is not None]
for module, names in {POSIX_NAMES!r}.items():
    left += [f"{{module}}.{{name}}" for name in names if hasattr(sys.modules[module], name)]
print(left, os.name, sys.platform)
"""
    assert (0, ["[] nt win32"], "") == portable("-c", program)


def test_a_use_of_them_is_noticed() -> None:
    program = f"""
import runpy, sys
import astro_token.formats.shells as shells
script = runpy.run_path({str(SCRIPT)!r})
script["prepare"]()
script["hide"]()
real = shells.powershell
shells.powershell = lambda variables: (__import__("os").getuid(), real(variables))[1]
script["scenarios"](script["hidden"], "/nonexistent")
"""
    code, lines, stderr = portable("-c", program)
    assert (1, ["ok  version"]) == (code, lines)
    assert "PowerShell: exit status 70, not 0" in stderr


@pytest.mark.long
def test_the_script_that_windows_runs() -> None:
    code, lines, stderr = portable(str(SCRIPT))
    assert (0, "18 passed", "") == (code, lines[-1], stderr)
