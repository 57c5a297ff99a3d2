"""How a program is started, what it gets, and what happens to slow and talkative ones."""

from __future__ import annotations

import _posixsubprocess
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from astro_token.system import posix_program, running
from astro_token.system.running import Completed, run_program
from astro_token.system.windows_program import WindowsProgram
from tests.timing import is_running, wait_until, within

SHELL = "/bin/sh"
GIVEN = {"PATH": "/usr/bin:/bin"}
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def unlike(*_arguments: Any) -> int:
    """Stand for the C function of another release of Python, with other arguments."""
    raise TypeError


@pytest.fixture(params=["C function", "subprocess"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start programs in each way of POSIX."""
    if request.param == "subprocess":
        monkeypatch.setattr(_posixsubprocess, "fork_exec", unlike)


@pytest.fixture(params=["C function", "subprocess", "not POSIX"])
def _any_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "subprocess":
        monkeypatch.setattr(_posixsubprocess, "fork_exec", unlike)
    elif request.param == "not POSIX":
        monkeypatch.setattr(running, "_start", WindowsProgram)


each_way = pytest.mark.usefixtures("_way")
really_each_way = pytest.mark.usefixtures("_any_way")


def ask(script: str, folder: Path, *, seconds: float = 60.0, data: bytes | None = None) -> Completed | None:
    return run_program([SHELL, "-c", script], GIVEN, seconds=seconds, limit=1000, folder=folder, data=data)


def ask_python(code: str, *, data: bytes | None = None) -> str:
    argv = [sys.executable, "-IS", "-c", f"import os, signal; {code}"]
    done = run_program(argv, GIVEN, seconds=60, limit=10_000, data=data)
    assert done is not None
    assert (0, False, False) == (done.code, done.late, done.too_long)
    return done.output.decode()


def in_new_process(code: str, *argv: str, way: str = "") -> str:
    """Run code in a process of its own, and return what it prints."""
    before = (
        "import os, signal, sys\n"
        "def unlike(*arguments): raise TypeError\n"
        f"if {way!r}: import subprocess, _posixsubprocess; _posixsubprocess.fork_exec = unlike\n"
        "from astro_token.system.running import run_program\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", before + code, *argv], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


both = pytest.mark.parametrize("way", ["", "subprocess"])


# -- its end ------------------------------------------------------------------------------------------


@really_each_way
def test_the_result_is_a_status_and_an_output(tmp_path: Path) -> None:
    assert Completed(3, b"out\n") == ask("echo out; echo err >&2; exit 3", tmp_path)
    assert Completed(-9, b"out\n") == ask("echo out; kill -9 $$", tmp_path)
    assert "out" not in repr(ask("echo out", tmp_path))


@really_each_way
def test_data_is_written_to_its_standard_input(tmp_path: Path) -> None:
    assert Completed(0, b"secret") == ask("cat", tmp_path, data=b"secret")
    assert Completed(0, b"") == ask("cat", tmp_path, data=b"")
    assert Completed(0, b"") == ask("exec <&-", tmp_path, data=bytes(1_000_000))


@each_way
def test_data_is_also_written_after_it_closed_its_output(tmp_path: Path) -> None:
    script = "exec >&-; cat > all; test $(wc -c < all) = 500000"
    assert Completed(0, b"") == ask(script, tmp_path, data=b"x" * 500_000)


@each_way
def test_one_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with within(1):
        done = ask(f"/bin/sleep 60 & echo $! > {left}; /bin/sleep 60", tmp_path, seconds=1)
    assert Completed(None, b"", late=True) == done
    wait_until(lambda: not left.exists() or not is_running(int(left.read_text())))


@really_each_way
@pytest.mark.parametrize("script", ["exec /bin/sleep 60", "echo said; exec >&- 2>&-; exec /bin/sleep 60"])
def test_the_time_also_limits_one_that_has_closed_its_output(tmp_path: Path, script: str) -> None:
    with within(0.2):
        done = ask(script, tmp_path, seconds=0.2)
    assert (None, True, False) == (done and done.code, done and done.late, done and done.too_long)


@really_each_way
@pytest.mark.parametrize("seconds", [0, -1.0])
def test_without_time_it_is_killed_at_once(tmp_path: Path, seconds: float) -> None:
    assert Completed(None, b"", late=True) == ask("exec /bin/sleep 60", tmp_path, seconds=seconds)


@each_way
def test_one_that_ended_in_time_is_not_late_if_we_look_later(tmp_path: Path) -> None:
    """As after a stop of this process. A child of it may print on."""
    script = "echo done; (trap '' TERM; exec setsid sh -c 'while echo more; do sleep 0.01; done') & exit 3"
    program = posix_program.PosixProgram([SHELL, "-c", script], GIVEN, tmp_path, has_input=False)
    os.waitid(os.P_PID, program._number, os.WEXITED | os.WNOWAIT)
    with within(10):
        output, late = program.exchange(time.monotonic() - 1, 10_000_000, b"")
    program.close()
    assert (3, False, b"done\n") == (program.code, late, output[:5])


@each_way
def test_one_that_is_being_started_when_we_end_is_killed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = running._start, threading.Event()
    monkeypatch.setattr(running, "_starting", threading.Lock())
    monkeypatch.setattr(running, "_STARTED_WITHIN", 60)

    def slow(*given: Any, **named: Any) -> Any:
        program = start(*given, **named)
        started.set()
        time.sleep(0.3)
        return program

    monkeypatch.setattr(running, "_start", slow)
    results: list[Completed | None] = []
    reader = threading.Thread(target=lambda: results.append(ask("exec /bin/sleep 60", tmp_path)))
    reader.start()
    assert started.wait(60)
    running.end_running()
    reader.join(60)
    assert [-9] == [result.code for result in results if result]


@each_way
@pytest.mark.parametrize("own", ["", "setsid "])
def test_a_program_left_behind_is_not_waited_for(tmp_path: Path, own: str) -> None:
    with within(0):
        assert Completed(0, b"said\n") == ask(f"{own}/bin/sleep 20 & echo said", tmp_path, seconds=15)


@each_way
@on_linux
@pytest.mark.parametrize("end", ["", ">/dev/null", ">/dev/null & exit 3", "& while :; do echo x; done"])
def test_what_it_leaves_behind_is_killed(tmp_path: Path, end: str) -> None:
    left = tmp_path / "left"
    assert ask(f"(echo > {left}.1; exec /bin/sleep 99) {end or '&'} echo $! > {left}", tmp_path, seconds=2)
    wait_until(lambda: not processes_of(left))


def processes_of(path: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(path).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            pass
    return found


@really_each_way
def test_one_that_prints_too_much_is_killed_unless_it_has_to_read_all_of_its_input(tmp_path: Path) -> None:
    assert Completed(None, b"x\n" * 500, too_long=True) == ask("while :; do echo x; done", tmp_path)
    assert Completed(0, b"x" * 1000) == ask("printf %01000d 0 | tr 0 x", tmp_path)
    assert Completed(0, b"x" * 1000) == ask("cat", tmp_path, data=b"x" * 100_000)


@each_way
def test_one_that_prints_while_it_reads_is_not_waited_for(tmp_path: Path) -> None:
    """Pipes hold 64 KiB: it waits for a reader of its output, and does not read its input meanwhile."""
    assert Completed(0, b"x" * 1000) == ask("cat", tmp_path, data=b"x" * 3_000_000)
    assert Completed(0, b"y\n" * 500) == ask(
        "i=0; while [ $i -lt 99999 ]; do echo y; i=$((i + 1)); done; cat > all; test $(wc -c < all) = 500000",
        tmp_path, data=b"x" * 500_000,
    )  # fmt: skip
    start = time.monotonic()
    done = ask("/bin/sleep 30", tmp_path, seconds=0.2, data=b"x" * 500_000)
    assert Completed(None, b"", late=True) == done
    assert time.monotonic() - start < 5


@each_way
def test_one_that_may_not_be_killed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that became that of another user."""

    def refuse(_group: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patched:
        patched.setattr(posix_program, "_KILLED_WITHIN", 0.1)
        patched.setattr(os, "killpg", refuse)
        with within(0.3):
            done = ask(f"echo $$ > {tmp_path}/number; exec /bin/sleep 60", tmp_path, seconds=0.2)
    assert Completed(None, b"", late=True) == done
    if (tmp_path / "number").exists():
        os.kill(int((tmp_path / "number").read_text()), 9)
    os.wait3(0)


@both
def test_a_status_that_the_system_has_lost_is_not_taken_for_success(way: str) -> None:
    code = (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "for status in 0, 77:\n"
        "    print(run_program(['/bin/sh', '-c', f'echo x; exit {status}'], {}, seconds=60, limit=9))"
    )
    lost = "Completed(code=None, late=False, too_long=False)\n"
    assert 2 * lost == in_new_process(code, way=way)


# -- what it gets -------------------------------------------------------------------------------------


@really_each_way
def test_a_program_gets_its_folder_and_its_environment_only(tmp_path: Path) -> None:
    argv = [SHELL, "-c", 'echo "$A" "$HOME"; pwd; cat']
    done = run_program(argv, {"A": "b", **GIVEN}, seconds=5, limit=1000, folder=tmp_path)
    assert Completed(0, f"b \n{tmp_path}\n".encode()) == done
    here = run_program(argv, GIVEN, seconds=5, limit=1000)
    assert Completed(0, f" \n{Path.cwd()}\n".encode()) == here


@each_way
def test_it_gets_arguments_and_variables_of_any_bytes() -> None:
    odd = os.fsdecode(bytes(range(1, 256)))
    code = "import sys; print(ascii(os.fsencode(sys.argv[1])), ascii(os.environb[b'A']))"
    argv = [sys.executable, "-IS", "-c", f"import os; {code}", odd]
    done = run_program(argv, {"A": odd}, seconds=60, limit=10_000)
    expected = ascii(bytes(range(1, 256)))
    assert Completed(0, f"{expected} {expected}\n".encode()) == done


@each_way
def test_it_runs_in_a_session_of_its_own() -> None:
    assert "True True\n" == ask_python("print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())")


@each_way
@pytest.mark.parametrize("data", [None, b"x"])
def test_it_inherits_no_file(tmp_path: Path, data: bytes | None) -> None:
    """Also if another part of this process has made it inheritable."""
    look = (
        "import errno\n"
        "def is_open(number):\n"
        "    try: return bool(os.fstat(number))\n"
        "    except OSError: return False\n"
        "print([number for number in range(256) if is_open(number)])"
    )
    with (tmp_path / "file").open("w") as file:
        numbers = [os.dup(file.fileno()), os.dup2(file.fileno(), 200)]
        for number in numbers:
            os.set_inheritable(number, True)
        try:
            assert "[0, 1, 2]\n" == ask_python(f"exec({look!r})", data=data)
        finally:
            for number in numbers:
                os.close(number)


@both
def test_it_starts_if_our_own_standard_streams_are_closed(tmp_path: Path, way: str) -> None:
    """Then the ends of its pipes get their numbers."""
    code = """
argv = ["/bin/sh", "-c", "cat; echo out; echo err >&2; exit 7"]
for closed in (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2):
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    for number in closed:
        os.close(number)
    done = [
        run_program(argv, {"PATH": "/usr/bin:/bin"}, seconds=60, limit=99, data=data)
        for data in (b"in ", None)
    ]
    missing = run_program(["/nowhere/it"], {}, seconds=60, limit=99)
    with open(sys.argv[1], "a") as file:
        print([(one.code, one.output) for one in done], missing, file=file)
    os._exit(0)
"""
    result = tmp_path / "result"
    assert "" == in_new_process(code, str(result), way=way)
    assert ["[(7, b'in out\\n'), (7, b'out\\n')] None"] * 7 == result.read_text().splitlines()


@both
@on_linux
@pytest.mark.parametrize("ours", ["", "SIGHUP", "SIGUSR1"])
def test_signals_are_to_it_as_to_a_child_of_subprocess(way: str, ours: str) -> None:
    code = """
import subprocess, threading
if sys.argv[1]:
    signal.signal(getattr(signal, sys.argv[1]), signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *given: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
argv = ["/bin/grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
def compare():
    done = run_program(argv, {}, seconds=60, limit=999)
    print(done.output == subprocess.run(argv, env={}, capture_output=True).stdout, done.output.decode())
compare()
thread = threading.Thread(target=compare); thread.start(); thread.join()
"""
    printed = in_new_process(code, ours, way=way)
    assert 2 == printed.count("True SigBlk")
    ignored = [int(line.split()[1], 16) for line in printed.splitlines() if line.startswith("SigIgn")]
    bit = 1 << getattr(signal, ours) - 1 if ours else 0  # whoever started the tests may ignore others
    assert [bit, bit] == [mask & bit for mask in ignored]


# -- its start ----------------------------------------------------------------------------------------


def planted(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@really_each_way
def test_one_that_cannot_be_started_gives_no_result_and_leaves_nothing(tmp_path: Path) -> None:
    files = len(os.listdir("/dev/fd"))  # noqa: PTH208
    for path in (
        str(tmp_path / "nothing"),
        str(tmp_path),
        planted(tmp_path / "not executable", b"#!/bin/sh\n", 0o644),
        planted(tmp_path / "empty", b""),
        planted(tmp_path / "no interpreter", b"echo x\n"),
        planted(tmp_path / "missing interpreter", b"#!/nowhere/sh\n"),
        planted(tmp_path / "cut", b"\x7fELF"),
    ):
        assert None is run_program([path], {}, seconds=5, limit=10)
        assert None is run_program([path], {}, seconds=5, limit=10, data=b"x")
    assert None is ask("exit", tmp_path / "nowhere")
    assert None is ask("exit", Path(planted(tmp_path / "file", b"")))
    assert None is run_program([SHELL, "-c", "exit", "x" * 9_000_000], {}, seconds=5, limit=10)
    assert files == len(os.listdir("/dev/fd"))  # noqa: PTH208


@each_way
def test_no_file_is_left_open(tmp_path: Path) -> None:
    files = len(os.listdir("/dev/fd"))  # noqa: PTH208
    assert ask("yes", tmp_path)
    for script, seconds in (("echo x", 60), ("exec >&-; exit 3", 60), ("sleep 9", 0.1)):
        assert ask(script, tmp_path, seconds=seconds)
        assert ask(script, tmp_path, seconds=seconds, data=b"x")
    assert files == len(os.listdir("/dev/fd"))  # noqa: PTH208


@both
def test_no_process_is_left(way: str) -> None:
    code = """
sh = ["/bin/sh", "-c"]
for argv in [*sh, "exit 3"], ["/nowhere/it"], [*sh, "sleep 9"], [*sh, "yes"]:
    run_program(argv, {"PATH": "/usr/bin:/bin"}, seconds=0.2, limit=99)
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("none")
"""
    assert "none\n" == in_new_process(code, way=way)


@each_way
@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN])
def test_without_memory_or_processes_it_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    files = len(os.listdir("/dev/fd"))  # noqa: PTH208

    def refuse(*_arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_posixsubprocess, "fork_exec", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert None is ask("echo x", tmp_path)
    assert None is ask("echo x", tmp_path, data=b"x")
    assert files == len(os.listdir("/dev/fd"))  # noqa: PTH208


@both
def test_without_free_files_it_cannot_be_started(way: str) -> None:
    code = """
import resource, subprocess
opened = os.dup(0); os.close(opened)
for more in range(16):
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + more, 256))
    for data in None, b"x":
        done = run_program(["/bin/echo", "x"], {}, seconds=60, limit=99, data=data)
        assert done is None or (done.code, done.output) == (0, b"x\\n")
    print(done is not None, end=" ")
"""
    outcomes = in_new_process(code, way=way).split()
    assert ["False"] * 3 + ["True"] * 3 == outcomes[:3] + outcomes[-3:]


@both
def test_an_audit_hook_sees_it(way: str) -> None:
    code = """
seen = []
sys.addaudithook(lambda name, given: seen.append(given) if name == "subprocess.Popen" else None)
run_program(["/bin/echo", "x"], {"A": "b"}, seconds=60, limit=99, folder="/")
print(seen[0])
"""
    assert "('/bin/echo', ['/bin/echo', 'x'], '/', {'A': 'b'})\n" == in_new_process(code, way=way)


@pytest.mark.parametrize(("release", "count"), [((3, 11), 23), ((3, 13), 23), ((3, 14), 22)])
def test_the_c_function_gets_as_many_arguments_as_its_release_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: tuple[int, int], count: int
) -> None:
    """Until 3.13 the last one allows vfork."""
    given: list[Any] = []

    def note(*arguments: Any) -> int:
        given.extend(arguments)
        raise OSError

    monkeypatch.setattr(_posixsubprocess, "fork_exec", note)
    monkeypatch.setattr(sys, "version_info", release)
    assert None is ask("echo x", tmp_path)
    assert count == len(given)
    assert [None, True][: count - 21] == given[21:]


def test_its_start_imports_neither_subprocess_nor_threading() -> None:
    code = (
        "run_program(['/bin/echo', 'x'], {}, seconds=60, limit=9)\n"
        "print({'subprocess', 'threading', 'selectors'} & set(sys.modules))"
    )
    assert "set()\n" == in_new_process(code)
