"""`exec`: signals on their way to the child, and what a kill leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import child
from tests.conftest import Result
from tests.machine import only_root
from tests.timing import wait_until, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program

    Start = Callable[..., Background]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
either_way = pytest.mark.usefixtures("masked_or_not")
PASSED_ON = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT]


@pytest.fixture
def log(program: Program) -> Path:
    return program.folder / "signals"


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def send(running: Background, number: signal.Signals, log: Path, process: int | None = None) -> None:
    """Sends a signal and waits for what comes of it, because two of a kind at once are one to the system."""
    count = len(lines(log))
    os.kill(process or running.pid, number)
    wait_until(lambda: len(lines(log)) > count)


def is_running(process: int) -> bool:
    """False for a dead one too that nobody has reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- while the child runs ---------------------------------------------------------------------------


@either_way
def test_each_signal_reaches_the_child_exactly_once_and_from_us(
    prod: str, start: Start, log: Path, homes: Path
) -> None:
    running = start("exec", prod, "--", *child("signals", str(log)))
    wait_until(lambda: lines(log))
    sent = [*PASSED_ON, signal.SIGTERM, signal.SIGUSR2]
    for number in sent:
        send(running, number, log)
    assert Result(7, "", "") == running.finish()
    assert [f"{number.name} parent" for number in sent] == lines(log)[1:]
    assert [] == list(homes.iterdir())


@either_way
@pytest.mark.parametrize("number", PASSED_ON, ids=lambda number: number.name)
def test_a_signal_that_ends_the_child_ends_us_with_128_and_its_number(
    prod: str, start: Start, number: signal.Signals, homes: Path, program: Program
) -> None:
    ready = program.folder / "ready"
    running = start("exec", prod, "--", "sh", "-c", f"ulimit -c 0; : >'{ready}'; exec sleep 60")
    wait_until(ready.exists)
    running.send(number)
    assert Result(128 + number, "", "") == running.finish()
    assert [] == list(homes.iterdir())


@either_way
def test_we_wait_for_a_child_that_ignores_a_signal(prod: str, start: Start, program: Program) -> None:
    ready = program.folder / "ready"
    line = f"trap '' TERM; : >'{ready}'; until [ -e gate ]; do sleep 0.01; done; echo done; exit 9"
    running = start("exec", prod, "--", "sh", "-c", line)
    wait_until(ready.exists)
    for _ in range(3):
        running.send(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.2)
    (program.work / "gate").touch()
    assert Result(9, "done\n", "") == running.finish()


@either_way
def test_a_childs_own_answer_to_a_signal_is_our_status(prod: str, start: Start, program: Program) -> None:
    ready = program.folder / "ready"
    line = f"trap 'echo bye; exit 3' TERM; : >'{ready}'; while :; do sleep 0.01; done"
    running = start("exec", prod, "--", "sh", "-c", line)
    wait_until(ready.exists)
    running.send(signal.SIGTERM)
    assert Result(3, "bye\n", "") == running.finish()


@either_way
def test_a_signal_that_was_ignored_stays_ignored(prod: str, start: Start, log: Path) -> None:
    """As under nohup, and for INT and QUIT in the background of a script."""
    wrapper = ["sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh"]
    running = start("exec", prod, "--", *child("signals", str(log)), wrapper=wrapper)
    wait_until(lambda: lines(log))
    os.kill(int(lines(log)[0].split()[1]), signal.SIGHUP)  # to the child itself
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        running.send(number)
    wait_until(lambda: lines(log)[1:])
    running.send(signal.SIGUSR2)
    assert Result(7, "", "") == running.finish()
    assert ["SIGTERM parent", "SIGUSR2 parent"] == lines(log)[1:]


def test_without_isolation_the_command_has_the_signals_to_itself(prod: str, start: Start, log: Path) -> None:
    running = start("exec", "--no-isolate", prod, "--", *child("signals", str(log)))
    wait_until(lambda: lines(log))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        send(running, number, log)
    assert Result(7, "", "") == running.finish()
    assert ["SIGINT parent", "SIGTERM parent", "SIGUSR2 parent"] == lines(log)[1:]  # the test is its parent


# -- before there is a child ------------------------------------------------------------------------

READING = {
    "exec": ("exec", "planted:silent", "--", "sh", "-c", ': >"$STARTED"'),
    "exec --no-isolate": ("exec", "--no-isolate", "planted:silent", "--", "sh", "-c", ': >"$STARTED"'),
    "export": ("export", "planted:silent", "--output", "token"),
    "check": ("check", "planted:silent"),
    "put": ("put", "planted:silent"),
}


CASES = [(command, signal.SIGTERM) for command in READING] + [
    ("exec", signal.SIGINT),
    ("exec", signal.SIGHUP),
]


@pytest.mark.parametrize(("command", "number"), CASES)
def test_a_signal_while_a_service_is_silent_ends_us_at_once(
    program: Program, planted: Planted, start: Start, homes: Path, command: str, number: signal.Signals
) -> None:
    started = program.folder / "started"
    (planted.folder / "slow-close").touch()  # nor does giving back a login hold us for long
    running = start(*READING[command], env={"STARTED": str(started)})
    wait_until(lambda: planted.log)
    with within(1):
        for _ in range(3):  # an impatient user: the second one cuts nothing short
            running.send(number)
            time.sleep(0.05)
        assert Result(128 + number, "", "") == running.finish()
    assert (["read silent", "close"], []) == (planted.log, list(homes.iterdir()))
    assert (False, []) == (started.exists(), list(program.work.iterdir()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_vault_is_silent_ends_us_at_once(
    program: Program, start: Start, homes: Path, number: signal.Signals
) -> None:
    from tests.servers.faults import FaultServer

    with FaultServer("hang") as silent:
        login = {"VAULT_ADDR": silent.url, "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": "secret"}
        running = start("exec", "vault:secret/astro/prod", "--", "true", env=login)
        wait_until(lambda: silent.count)
        with within(1):
            running.send(number)
            assert Result(128 + number, "", "") == running.finish()
    assert [] == list(homes.iterdir())


def test_a_signal_at_any_moment_ends_us_and_leaves_nothing(
    program: Program, prod: str, start: Start, homes: Path
) -> None:
    """From before our first line to after the child's start, which takes about a tenth of a second."""
    for delay in range(0, 150, 10):
        running = start("exec", prod, "--", "sleep", "60")
        time.sleep(delay / 1000)
        running.send(signal.SIGTERM)
        result = running.finish()
        # Before our first line it is the system that ends us, which a shell reports as the same status.
        assert (True, "", "") == (result.code in {143, -signal.SIGTERM}, result.stdout, result.stderr)
    assert [] == list(homes.iterdir())


def test_a_signal_in_a_call_whose_exceptions_python_ignores_ends_us_without_a_word(program: Program) -> None:
    code = """
import os, signal, sys
from astro_token import cli
from astro_token.cli import check

class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(100))

def run(*_):
    Ends()
    return 0

check.run = run
sys.argv = ["astro-token", "check"]
cli.run()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], env=program.environment(), capture_output=True, text=True, check=False
    )
    assert (143, "", "") == (ran.returncode, ran.stdout, ran.stderr)


# -- kills ------------------------------------------------------------------------------------------


@either_way
@on_linux
def test_what_a_kill_leaves_is_swept_by_the_next_run_once_the_child_is_gone(
    program: Program, prod: str, start: Start, homes: Path, log: Path
) -> None:
    running = start("exec", prod, "--", *child("signals", str(log)))
    wait_until(lambda: lines(log) and list(homes.glob("*/.astro-token-child")))
    (left,) = homes.iterdir()
    running.send(signal.SIGKILL)
    running.process.wait()
    orphan = int(lines(log)[0].split()[1])
    # The child outlives us and still has its home.
    assert Result(0, "", "") == program("exec", prod, "--", "true")
    assert ([left], True) == (list(homes.iterdir()), (left / ".astro" / "config.yaml").exists())
    os.kill(orphan, signal.SIGKILL)
    wait_until(lambda: not is_running(orphan))
    assert Result(0, "", "") == program("exec", prod, "--", "true")
    assert [] == list(homes.iterdir())


def test_homes_of_runs_at_work_and_what_is_not_ours_are_not_swept(
    program: Program, prod: str, start: Start, homes: Path, log: Path, tmp_path: Path
) -> None:
    running = start("exec", prod, "--", *child("signals", str(log)))
    wait_until(lambda: lines(log))
    (busy,) = homes.iterdir()
    prefix = f"astro-token-home-{os.geteuid()}-"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    link, file = (homes / (prefix + name) for name in ("link", "file"))
    young = homes / f"astro-token-unfinished-{os.geteuid()}-young"
    other = homes / "other"
    young.mkdir()
    other.mkdir()
    link.symlink_to(elsewhere)
    file.touch()
    (homes / f"{prefix}without-lock").mkdir()
    assert Result(0, "", "") == program("exec", prod, "--", "true")
    assert {busy, young, link, file, other} == set(homes.iterdir())
    assert (elsewhere / "file").exists()
    running.send(signal.SIGTERM)
    running.send(signal.SIGUSR2)
    shutil.rmtree(other)


# -- as process 1 -----------------------------------------------------------------------------------

SUBREAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to it, as to process 1
if sys.argv[1] == "never-reap":
    import subprocess
    sys.exit(subprocess.run(sys.argv[2:]).returncode)
os.execv(sys.argv[1], sys.argv[1:])
"""
# Leaves one grandchild to whoever takes it, and then looks whether it is still there, dead.
ORPHAN = """

( (sh -c 'echo $$ >"$1"; exit 0' sh "$OUT" &) )
until [ -s "$OUT" ]; do sleep 0.01; done
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  [ -e "/proc/$(cat "$OUT")" ] || { echo reaped; exit 4; }
  sleep 0.02
done
echo left; exit 5
"""


@either_way
@on_linux
def test_orphans_that_are_left_to_us_are_reaped(program: Program, prod: str, start: Start) -> None:
    out = {"OUT": str(program.folder / "orphan")}
    wrapper = [sys.executable, "-ISc", SUBREAPER]
    running = start("exec", prod, "--", "sh", "-c", ORPHAN, wrapper=wrapper, env=out)
    assert Result(4, "reaped\n", "") == running.finish()
    # The control: one that waits for its own child only leaves it.
    (program.folder / "orphan").unlink()
    done = subprocess.run(
        [*wrapper, "never-reap", "sh", "-c", ORPHAN],
        env=program.environment(out),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (5, "left\n", "") == (done.returncode, done.stdout, done.stderr)


@either_way
@only_root
@on_linux
def test_as_process_1_of_a_container_signals_and_orphans_are_served(
    program: Program, prod: str, log: Path, homes: Path, start: Start
) -> None:
    """The kernel gives process 1 no signal that it does not take."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    running = start("exec", prod, "--", *child("signals", str(log)), wrapper=unshare)
    wait_until(lambda: lines(log))
    assert lines(log)[0].endswith(" of 1")
    inner = int(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text())
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2):
        send(running, number, log, inner)
    assert Result(7, "", "") == running.finish()
    assert ["SIGHUP parent", "SIGTERM parent", "SIGUSR2 parent"] == lines(log)[1:]
    assert [] == list(homes.iterdir())
    out = {"OUT": str(program.folder / "orphan")}
    running = start("exec", prod, "--", "sh", "-c", ORPHAN, wrapper=unshare, env=out)
    assert Result(4, "reaped\n", "") == running.finish()
