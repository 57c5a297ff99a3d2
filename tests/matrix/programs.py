"""Faults of the program of `command:`, each with the exit code that it ends with."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.matrix.local import MARK, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FAULTS", "STATUSES", "ProgramFault", "runs"]

HUGE = 256 * 1024 + 1
_SYSEXITS = {64, 65, 66, 69, 75, 76, 77, 78}


@dataclass(frozen=True)
class ProgramFault:
    """
    Attributes:
        script: of the program; `{token}` stands for a good token. None: it is no file.
        mode: of its file.
        continues: a chain continues with its next reference.
        slow: it lasts until the deadline.
        escapes: it leaves a process in another group.
    """

    name: str
    code: int
    script: str | bytes | None
    mode: int = 0o755
    continues: bool = False
    slow: bool = False
    escapes: bool = False


def _shell(name: str, code: int, script: str, *, slow: bool = False, continues: bool = False) -> ProgramFault:
    return ProgramFault(name, code, f"#!/bin/sh\n{script}\n", slow=slow, continues=continues)


def _python(name: str, code: int, script: str, *, slow: bool = False) -> ProgramFault:
    return ProgramFault(name, code, f"#!{sys.executable} -IS\nimport os, sys, time\n{script}\n", slow=slow)


def _status(number: int) -> ProgramFault:
    code = number if number in _SYSEXITS else 78 if number in {126, 127} else 69
    script = f"echo {{token}}; echo {{token}} >&2; exit {number}"
    return _shell(f"status {number}", code, script, continues=number == 66)


# All that the programs here can be ended by: Python ignores two.
_SIGNALS = sorted(
    signal.valid_signals()
    - {*(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ)}
    - {*(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)}
)
STATUSES = [_status(number) for number in range(1, 256)] + [
    _python(f"signal {number:d}", 69, f"print('{{token}}', flush=True); os.kill(os.getpid(), {number:d})")
    for number in _SIGNALS
]
FAULTS = [
    _shell("none", 0, "echo {token}"),
    _shell("a value, and a canary on standard error", 0, "echo {token} >&2; echo {token}"),
    # -- its output
    _shell("nothing", 66, ":"),
    _shell("a line end only", 66, "echo"),
    _shell("line ends only", 66, "echo; echo; printf '\\r\\n'"),
    _shell("standard error only", 66, "echo {token} >&2"),
    _shell("blanks only", 65, "printf '   '"),
    _shell("a page of help", 65, "echo usage: it NAME; echo {token}"),
    _shell("two lines", 65, "echo {token}; echo {token}"),
    _shell("half a token", 65, "printf %.200s {token}"),
    _shell("invalid UTF-8", 65, "printf '\\377\\376%s' {token}"),
    _shell("UTF-16", 65, "printf %s {token} | sed 's/./&\\n/g' | tr '\\n' '\\0'"),
    _shell("a NUL", 65, "printf '%s\\0' {token}"),
    _shell("a NUL in the middle", 65, "printf '%.90s\\0%s' {token} {token}"),
    _shell("JSON without a token", 66, 'printf \'{"a": "%s", "b": "%s"}\' {token} {token}'),
    _shell("a byte too much", 65, f"head -c {HUGE} /dev/zero | tr '\\0' x"),
    _shell("without end", 65, "exec yes {token}"),
    _shell("without end, from a child", 65, "yes {token} & exec yes {token}"),
    _python("much on standard error", 0, "sys.stderr.write('{token}' * 9999)\nprint('{token}')"),
    # -- its end
    *(_status(number) for number in (1, 2, *sorted(_SYSEXITS), 126, 127, 128, 129, 137, 192, 193, 255)),
    _python("killed", 69, "print('{token}', flush=True); os.kill(os.getpid(), 9)"),
    _python("aborted", 69, "print('{token}', flush=True); os.abort()"),
    _python("a segmentation fault", 69, "print('{token}', flush=True); os.kill(os.getpid(), 11)"),
    _python(
        "a broken pipe", 69, "import signal; signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), 13)"
    ),
    _python("a traceback with the value", 69, "token = '{token}'; raise ValueError(token)"),
    _python("its group ends", 69, "print('{token}', flush=True); os.killpg(0, 15); time.sleep(99)"),
    # -- what it leaves behind
    _shell("a child that holds the output", 0, "sleep 99 & echo {token}"),
    _shell("a child that goes on printing", 0, "echo {token}; (sleep 99; echo x) & exit 0"),
    _shell("a child with an output of its own", 0, "sleep 99 >/dev/null 2>&1 & echo {token}"),
    _shell("a child, and a failure", 77, "sleep 99 & echo {token}; exit 77"),
    _python(
        "many children", 0, "for _ in range(9): os.fork() or (time.sleep(99), os._exit(0))\nprint('{token}')"
    ),
    _python(
        "a child that ignores signals",
        0,
        "import signal\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\n"
        "os.fork() or time.sleep(99)\nprint('{token}')",
    ),
    ProgramFault(
        "a child in a session of its own", 0, "#!/bin/sh\nsetsid sleep 99 &\necho {token}\n", escapes=True
    ),
    # -- it does not end
    _shell("it hangs", 75, "sleep 99", slow=True),
    _shell("it hangs after its value", 75, "echo {token}; sleep 99", slow=True),
    _shell("it closes its output and hangs", 75, "echo {token}; exec >&- 2>&-; sleep 99", slow=True),
    _shell("it waits for a child", 75, "sleep 99 & wait", slow=True),
    _shell("it reads its input, then hangs", 75, "cat; sleep 99", slow=True),
    _shell("it drips", 75, "while :; do printf x; sleep 0.1; done", slow=True),
    _python("it stops itself", 75, "os.kill(os.getpid(), 19)", slow=True),
    _python("it computes for ever", 75, "while True: pass", slow=True),
    _python(
        "it ignores signals",
        75,
        "import signal\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(99)",
        slow=True,
    ),
    # -- it cannot be started
    ProgramFault("missing", 78, None),
    ProgramFault("a folder", 78, None),
    ProgramFault("a dead link", 78, None),
    ProgramFault("a link to itself", 78, None),
    ProgramFault("a pipe", 78, None),
    ProgramFault("not executable", 78, "#!/bin/sh\necho {token}\n", 0o644),
    ProgramFault("an interpreter that is missing", 78, "#!/nowhere/sh\necho {token}\n"),
    ProgramFault("an interpreter that is a folder", 78, "#!/tmp\necho {token}\n"),
    ProgramFault("an interpreter with a carriage return", 78, "#!/bin/sh\r\necho {token}\r\n"),
    ProgramFault("no interpreter", 78, "echo {token}\n"),
    ProgramFault("empty", 78, ""),
    ProgramFault("no program of this machine", 78, b"\x7fELF\x02\x01\x01" + b"\0" * 57),
    ProgramFault("a program that is cut", 78, b"\x7fELF"),
]


def runs(folder: Path, token: str, faults: list[ProgramFault]) -> Iterator[Run]:
    """Write the program of each fault."""
    for number, fault in enumerate(faults):
        path = folder / str(number) / "it"
        path.parent.mkdir(parents=True)
        _write(path, fault, token)
        environ = {"ASTRO_TOKEN_COMMANDS": str(path), "ASTRO_TOKEN_COMMANDS_KEEP": f"TOKEN,{MARK}"}
        yield Run(
            fault.name,
            "command:it/n",
            fault.code,
            environ,
            continues=fault.continues,
            slow=fault.slow,
            escapes=fault.escapes,
        )


def _write(path: Path, fault: ProgramFault, token: str) -> None:
    if fault.script is not None:
        script = fault.script
        path.write_bytes(script if isinstance(script, bytes) else script.replace("{token}", token).encode())
        path.chmod(fault.mode)
    elif fault.name == "a folder":
        path.mkdir()
    elif fault.name == "a dead link":
        path.symlink_to(path.parent / "nothing")
    elif fault.name == "a link to itself":
        path.symlink_to(path)
    elif fault.name == "a pipe":
        os.mkfifo(path, 0o755)
