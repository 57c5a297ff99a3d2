"""`exec --mask`: the token stays out of what the command prints, and the rest is as without it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import appearances
from tests.cli.conftest import EITHER_WAY, crossed
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM, ROOT, Result
from tests.timing import PATIENCE, SLACK, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.cli.conftest import Background, Planted
    from tests.conftest import Program

    Start = Callable[..., Background]
    Open = Callable[..., Terminal]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PRINT = ("sh", "-c", 'echo "$ASTRO_API_TOKEN"')
SHOWN = ["stdout"]


@pytest.fixture
def terminal(program: Program) -> Iterator[Open]:
    opened: list[Terminal] = []

    def terminal(*command: str, env: Mapping[str, str] | None = None) -> Terminal:
        environ = program.environment({"TERM": "xterm", **(env or {})})
        opened.append(Terminal(command, env=environ, cwd=program.work, size=(33, 101)))
        return opened[-1].__enter__()

    yield terminal
    for each in opened:
        each.__exit__()


def python(code: str) -> list[str]:
    return [sys.executable, "-IS", "-c", code]


def masked(prod: str, *command: str) -> list[str]:
    return [str(PROGRAM), "exec", "--mask", prod, "--", *command]


# -- when -------------------------------------------------------------------------------------------

SYSTEMS = {
    "GitHub": {"GITHUB_ACTIONS": "true", "CI": "true"},
    "GitLab": {"GITLAB_CI": "true", "CI": "true"},
    "CircleCI": {"CIRCLECI": "true", "CI": "true"},
    "Azure Pipelines": {"TF_BUILD": "True"},
    "Buildkite": {"BUILDKITE": "true", "CI": "true"},
    "Bitbucket": {"BITBUCKET_BUILD_NUMBER": "7", "CI": "true"},
    "Jenkins": {"JENKINS_URL": "https://jenkins.example/", "BUILD_ID": "7"},
    "CodeBuild": {"CODEBUILD_BUILD_ARN": "arn:aws:codebuild:eu-west-1:1:build/a:b"},
    "Cloud Build": {"BUILDER_OUTPUT": "/builder/outputs"},
    "TeamCity": {"TEAMCITY_VERSION": "2025.1"},
    "Travis": {"TRAVIS": "true", "CI": "true"},
    "Drone": {"DRONE": "true", "CI": "true"},
    "Woodpecker": {"CI": "woodpecker"},
    "Harness": {"HARNESS_BUILD_ID": "7"},
    "one that nobody knows": {"CI": "true"},
    "one that nobody knows, with a number": {"CI": "1"},
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_in_each_ci_system_it_is_on_unless_it_is_switched_off(
    program: Program, prod: str, canary: str, system: str
) -> None:
    env = SYSTEMS[system]
    assert Result(0, "***\n", "") == program("exec", prod, "--", *PRINT, env=env)
    result = program("exec", "--no-mask", prod, "--", *PRINT, env=env, allowed=SHOWN)
    assert Result(0, f"{canary}\n", "") == result


@pytest.mark.parametrize("env", [{}, {"CI": "false"}, {"CI": ""}])
def test_elsewhere_it_is_off_unless_it_is_switched_on(
    program: Program, prod: str, canary: str, env: dict[str, str]
) -> None:
    assert Result(0, f"{canary}\n", "") == program("exec", prod, "--", *PRINT, env=env, allowed=SHOWN)
    assert Result(0, "***\n", "") == program("exec", "--mask", prod, "--", *PRINT, env=env)


def test_who_becomes_the_command_cannot_mask(
    program: Program, prod: str, canary: str, planted: Planted
) -> None:
    error = (
        "astro-token: error: --mask and --no-isolate exclude each other\n"
        "astro-token: hint: leave one of them out: with --no-isolate no process remains to mask the output\n"
    )
    assert Result(64, "", error) == program("exec", "--mask", "--no-isolate", prod, "--", *PRINT)
    assert [] == planted.log
    for options in ([], ["--no-mask"]):  # without a word: nobody asked for more
        result = program("exec", "--no-isolate", *options, prod, "--", *PRINT, env={"CI": "1"}, allowed=SHOWN)
        assert Result(0, f"{canary}\n", "") == result


# -- what -------------------------------------------------------------------------------------------


def test_what_a_shell_makes_of_the_token_is_hidden_on_both_outputs(program: Program, prod: str) -> None:
    """Each by a program that people use; the fixture looks for every form in the results."""
    lines = (
        'echo "$ASTRO_API_TOKEN" | base64',
        'printf "user:%s" "$ASTRO_API_TOKEN" | base64 -w0; echo',
        'curl_header="Authorization: Bearer $ASTRO_API_TOKEN"; echo "$curl_header"',
        "env",
        'printf %s "$ASTRO_API_TOKEN" | od -An -v -tx1 | tr -d " \\n"; echo',
        'echo "${ASTRO_API_TOKEN#*.}"; echo "${ASTRO_API_TOKEN##*.}"',
        'echo "$ASTRO_API_TOKEN" | fold -w 40',
        'echo "$ASTRO_API_TOKEN" | grep --color=always -E "[A-M]+"',
        'set -x; : "$ASTRO_API_TOKEN"',
        "cat /proc/self/environ",
    )
    for line in lines:
        for streams in ("", ">&2"):
            result = program("exec", "--mask", prod, "--", "bash", "-c", f"exec {streams}\n{line}")
            assert (0, True) == (result.code, "***" in result.stdout + result.stderr)


def test_a_token_that_comes_byte_by_byte_is_hidden(program: Program, prod: str) -> None:
    slow = "import os, time\nfor each in os.environb[b'ASTRO_API_TOKEN']:\n os.write(%d, bytes([each]))%s"
    for number in (1, 2):
        result = program("exec", "--mask", prod, "--", *python(slow % (number, "")))
        assert (0, "***") == (result.code, result.stdout + result.stderr)
    # With pauses the first bytes are shown, as ever so many words begin; the rest is not.
    pauses = "; n = globals().get('n', 0) + 1; time.sleep(0.1 * (n < 12))"
    result = program("exec", "--mask", prod, "--", *python(slow % (1, pauses)))
    assert (0, True) == (result.code, result.stdout.endswith("***"))
    assert "eyJhbGc".startswith(result.stdout.removesuffix("***"))  # less on a machine that reads late


def test_an_output_that_ends_with_a_token_and_no_line_end(program: Program, prod: str) -> None:
    line = 'printf "a %s" "$ASTRO_API_TOKEN"; printf "b %s" "$ASTRO_API_TOKEN" >&2'
    assert Result(0, "a ***", "b ***") == program("exec", "--mask", prod, "--", "sh", "-c", line)
    # One that is cut is hidden too, up to its last letter.
    line = 'printf "%s" "${ASTRO_API_TOKEN%??????????}"'
    result = program("exec", "--mask", prod, "--", "sh", "-c", line)
    assert (0, "***", "") == (result.code, result.stdout.rstrip("-_"), result.stderr)


def test_both_outputs_in_one_place_keep_their_order(program: Program, prod: str) -> None:
    code = (
        "import os\n"
        "for number in range(600):\n"
        " os.write(1 + number % 2, b'%d %s\\n' % (number, os.environb[b'ASTRO_API_TOKEN'][::1 + number % 2]))"
    )
    done = subprocess.run(
        masked(prod, *python(code)),
        env=program.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert list(range(600)) == [int(line.split()[0]) for line in lines]
    assert ["***"] * 300 == [line.split()[1] for line in lines[::2]]
    out = program.folder / "both"
    with out.open("wb") as file:  # and at once into a file
        subprocess.run(
            masked(prod, *python(code)), env=program.environment(), stdout=file, stderr=file, check=True
        )
    assert done.stdout == out.read_bytes()


@pytest.mark.parametrize("streams", [">&1", ">&2"])
def test_much_output_passes_through_unchanged(program: Program, prod: str, streams: str) -> None:
    """8 million bytes, of which none may be lost; the memory is measured with more of them."""
    assert passed(program, prod, streams, 8)


@pytest.mark.long
def test_200_mb_pass_through_unchanged(program: Program, prod: str) -> None:
    assert passed(program, prod, ">&1", 200)


def passed(program: Program, prod: str, streams: str, megabytes: int) -> bool:
    block = os.urandom(1 << 20)
    source = program.folder / "block"
    source.write_bytes(block)
    line = f"i=0; while [ $i -lt {megabytes} ]; do cat '{source}' {streams}; i=$((i + 1)); done"
    with subprocess.Popen(
        masked(prod, "sh", "-c", line),
        env=program.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        assert running.stdout
        digest = hashlib.sha256()
        memory = 0
        while data := running.stdout.read(1 << 20):
            digest.update(data)
            memory = most_memory(running.pid) or memory
    assert (0, True) == (running.returncode, memory < 60 << 20)
    return digest.digest() == hashlib.sha256(block * megabytes).digest()


def most_memory(process: int) -> int:
    """In bytes; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# -- readers and writers ----------------------------------------------------------------------------


def test_a_slow_reader_holds_the_command_back(program: Program, prod: str) -> None:
    count = program.folder / "count"
    code = (
        "import os, sys\nsize = 0\nwhile size < 50_000_000:\n"
        f" size += os.write(1, b'x' * 65536); open({str(count)!r}, 'w').write(str(size))"
    )
    with subprocess.Popen(
        masked(prod, *python(code)), env=program.environment(), stdout=subprocess.PIPE
    ) as running:
        assert running.stdout
        wait_until(lambda: count.exists() and count.read_text())
        last = ""
        while last != count.read_text():  # until it stands still
            last = count.read_text()
            time.sleep(0.3)
        # Two pipes of 64 KiB, a piece on the way, and one of the child's.
        assert int(last or 0) <= 5 * 65536
        # The other output is not kept back with it, and a signal still ends the command and us.
        running.send_signal(signal.SIGTERM)
        assert 143 == running.wait(PATIENCE)
        running.stdout.read()


def test_a_reader_of_one_output_that_does_not_read_holds_no_other_back(program: Program, prod: str) -> None:
    line = "yes | head -c 300000 & for i in 1 2 3 4 5; do echo line $i >&2; done; wait"
    with subprocess.Popen(
        masked(prod, "sh", "-c", line),
        env=program.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stderr
        assert b"line 1\nline 2\nline 3\nline 4\nline 5\n" == running.stderr.read(35)
        assert 300000 == len(running.stdout.read())


@pytest.mark.usefixtures("masked_or_not")
@crossed("masked_or_not command", EITHER_WAY, ("yes", "yes >&2", "cat /dev/zero"))
def test_an_endless_output_ends_with_its_reader(program: Program, prod: str, command: str) -> None:
    streams = "2>&1 >/dev/null" if command.endswith("2") else ""
    line = (
        f'"{PROGRAM}" exec {prod} -- sh -c "exec {command}" {streams} | head -c 3; echo "${{PIPESTATUS[0]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", line], env=program.environment(), capture_output=True, timeout=60, check=True
    )
    assert (b"\0\0\0" if "zero" in command else b"y\ny", b"") == (done.stdout[:3], done.stderr)
    assert b"141\n" == done.stdout[3:]


@pytest.mark.usefixtures("masked_or_not")
def test_a_reader_that_went_away_while_nothing_was_written_ends_the_next_writer(
    program: Program, prod: str
) -> None:
    """At its first line, as without us."""
    gate, ready = program.folder / "gate", program.folder / "ready"
    line = (
        f': >"{ready}"; until [ -e "{gate}" ]; do sleep 0.01; done; '
        'echo first; echo "still there" >&2; exit 3'
    )
    with subprocess.Popen(
        [str(PROGRAM), "exec", prod, "--", "sh", "-c", line.replace("sh -c", "")],
        env=program.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stderr
        wait_until(ready.exists)
        descriptors = Path(f"/proc/{running.pid}/fd")
        count = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
        running.stdout.close()
        if "CI" in program.environ and count:  # masked: it notices, and closes the child's end of the pipe
            wait_until(lambda: len(list(descriptors.iterdir())) < count)
        else:
            time.sleep(0.2)
        gate.touch()
        assert (141, b"") == (running.wait(60), running.stderr.read())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a full device")
def test_an_output_that_cannot_be_written_ends_with_74(program: Program, prod: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            masked(prod, "echo", "x"),
            env=program.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    expected = b"astro-token: error: standard output: no space left on device\n"
    assert (74, expected) == (done.returncode, done.stderr.splitlines(keepends=True)[0])


def test_a_descriptor_that_does_not_block_is_written_all_the_same(program: Program, prod: str) -> None:
    """Some programs leave one so that they share with us."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(
        masked(prod, "sh", "-c", "yes | head -c 1000000"), env=program.environment(), stdout=writer
    ) as running:
        os.close(writer)
        time.sleep(0.5)
        size = 0
        while data := os.read(reader, 65536):
            size += len(data)
    os.close(reader)
    assert (0, 1_000_000) == (running.returncode, size)


# -- who outlives the command -----------------------------------------------------------------------

DAEMON = """
( trap '' HUP; i=0; until [ -e "$GATE" ]; do sleep 0.01; done
  while [ $i -lt 5 ]; do i=$((i + 1)); echo "late $i $ASTRO_API_TOKEN"; done; echo done >"$DONE" ) &
echo "early $ASTRO_API_TOKEN"; exit 5
"""


@pytest.mark.parametrize("streams", ["", ">&2"])
def test_a_daemon_neither_keeps_us_nor_is_ended_and_stays_masked(
    program: Program, prod: str, canary: str, streams: str
) -> None:
    gate, end = program.folder / "gate", program.folder / "done"
    environ = program.environment({"GATE": str(gate), "DONE": str(end)})
    with subprocess.Popen(
        masked(prod, "sh", "-c", f"exec {streams}\n{DAEMON}"),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stderr
        wanted, other = (running.stdout, running.stderr)[:: -1 if streams else 1]
        assert 5 == running.wait(PATIENCE)
        assert (b"early ***\n", False) == (wanted.readline(), end.exists())
        if streams:  # nobody has the other one any more, so its reader need not wait
            assert b"" == other.read()
        gate.touch()
        out = wanted.read()
        assert b"late 5 ***\n" == out[-11:]
        assert [] == appearances(canary, out.decode())
        assert b"" == other.read()
    assert "done\n" == end.read_text()


@on_linux
def test_only_for_a_daemon_there_is_a_process_more_and_it_ends_with_it(
    program: Program, prod: str, start: Start
) -> None:
    gate, end = program.folder / "gate", program.folder / "done"
    environ = {"GATE": str(gate), "DONE": str(end)}
    wrapper = ["bash", "-c", 'exec "$@" 3</dev/zero 9</dev/full', "bash"]
    running = start("exec", "--mask", prod, "--", "sh", "-c", DAEMON, env=environ, wrapper=wrapper)
    group = running.pid
    assert 5 == running.process.wait(60)
    wait_until(lambda: len(members(group)) >= 2)  # the daemon and whoever masks for it
    (keeper,) = [each for each in members(group) if b"astro" in Path(f"/proc/{each}/cmdline").read_bytes()]
    # It has what it needs and nothing else, and the keys of a terminal do not end it.
    links = (
        {str(link.readlink()) for link in Path(f"/proc/{keeper}/fd").iterdir()}
        if os.geteuid() == 0
        else set()
    )
    assert {link.partition(":")[0] for link in links} <= {"pipe", "/dev/null"}
    os.kill(keeper, signal.SIGINT)
    os.kill(keeper, signal.SIGTERM)
    gate.touch()
    wait_until(lambda: not members(group))
    assert "late 5 ***\n" == running.finish().stdout[-11:]


def members(group: int) -> list[int]:
    """The living processes of a group but for its `sleep`s."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name, rest = text.partition("(")[2].rpartition(")")[::2]
        if name != "sleep" and rest.split()[0] != "Z" and int(rest.split()[2]) == group:
            found.append(int(stat.parent.name))
    return found


def test_a_daemon_that_prints_without_end_does_not_keep_us(program: Program, prod: str, start: Start) -> None:
    running = start(
        "exec", "--mask", prod, "--", "sh", "-c", "trap '' PIPE; (sleep 0.2; exec yes) & sleep 0.4"
    )
    assert running.process.stdout
    wait_until(lambda: running.process.stdout and running.process.stdout.read(65536))
    until = time.monotonic() + PATIENCE
    while running.process.poll() is None and time.monotonic() < until:
        running.process.stdout.read(65536)
    assert 0 == running.process.poll()
    running.process.stdout.close()
    wait_until(lambda: not members(running.pid))


@on_linux
def test_signals_find_the_thread_that_waits_for_the_command(
    program: Program, prod: str, start: Start
) -> None:
    """Another one would not end its wait."""
    running = start("exec", "--mask", prod, "--", "sh", "-c", "until [ -e gate ]; do sleep 0.01; done")
    threads = Path(f"/proc/{running.pid}/task")

    def blocked(thread: Path) -> bool:
        (line,) = (line for line in (thread / "status").read_text().splitlines() if "SigBlk" in line)
        return bool(int(line.split()[1], 16) >> signal.SIGTERM - 1 & 1)

    # One for each output. A thread of an SDK may end while it is looked at.
    def others() -> list[bool]:
        with suppress(FileNotFoundError, ProcessLookupError):
            return [blocked(thread) for thread in threads.iterdir() if thread.name != str(running.pid)]
        return []

    wait_until(lambda: [True] * 2 == others()[-2:])
    wait_until(lambda: not blocked(threads / str(running.pid)))  # it starts them before the command
    (program.work / "gate").touch()
    assert Result(0, "", "") == running.finish()


# -- at a terminal ----------------------------------------------------------------------------------


def test_the_child_of_a_terminal_has_one_with_its_size_and_its_keys(
    prod: str, terminal: Open, canary: str
) -> None:
    script = (
        "test -t 0 && test -t 1 && test -t 2 && stty size && stty size <&1 && stty size </dev/tty"
        ' && read line && echo "got $line $ASTRO_API_TOKEN" && echo "$ASTRO_API_TOKEN" >&2'
    )
    at = terminal(*masked(prod, "sh", "-c", script))
    at.wait_for("33 101\n33 101\n33 101\n")
    at.type("words\n")
    assert (0, "33 101\n" * 3 + "words\ngot words ***\n***\n") == (at.finish(), at.shown)
    assert [] == appearances(canary, at.shown)


def test_line_ends_are_made_once(program: Program, prod: str, terminal: Open) -> None:
    """A terminal makes `\\r\\n` of them; two in a row would make `\\r\\r\\n`."""
    raw = []
    for options in ([], ["--mask"]):
        at = terminal(str(PROGRAM), "exec", *options, prod, "--", "printf", "a\\nb\\r\\nc\\td\\n")
        os.set_blocking(at._keys, False)
        assert 0 == at.process.wait(60)
        raw.append(os.read(at._keys, 100))
    assert [b"a\r\nb\r\r\nc\td\r\n"] * 2 == raw


def test_an_output_that_is_no_terminal_stays_a_pipe_beside_one_that_is(
    program: Program, prod: str, terminal: Open
) -> None:
    look = 'for i in 0 1 2; do test -t $i && is=one || is=none; echo "$i is $is" >&%d; done'
    for redirection, number, expected in (
        (f">'{program.folder}/out'", 2, "0 is one\n1 is none\n2 is one\n"),
        (f"2>'{program.folder}/err'", 1, "0 is one\n1 is one\n2 is none\n"),
        ("</dev/null", 1, "0 is none\n1 is one\n2 is one\n"),
    ):
        line = " ".join(f"'{word}'" for word in masked(prod, "sh", "-c", look % number))
        at = terminal("sh", "-c", f"{line} {redirection}")
        assert (0, expected) == (at.finish(), at.shown)


def test_a_prompt_is_shown_at_once_also_if_it_ends_as_a_token_begins(
    prod: str, terminal: Open, canary: str
) -> None:
    code = (
        "import sys\n"
        f"for size in range(8): sys.stdout.write('ready> ' + {canary[:7]!r}[:size]); sys.stdout.flush(); "
        "sys.stdin.readline()"
    )
    at = terminal(*masked(prod, *python(code)))
    for size in range(8):
        at.wait_for(f"ready> {canary[:size]}")
        at.type("\n")
    assert 0 == at.finish()


@pytest.mark.long
@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_prompt_does_not_wait_for_its_line_end(prod: str, terminal: Open, canary: str, size: int) -> None:
    """The pause that it waits for is tested with the outputs; here it is measured."""
    code = (
        "import sys, time; now = time.monotonic()\n"
        f"sys.stdout.write(f'{{now}} ready> {canary[:size]}'); sys.stdout.flush(); sys.stdin.readline()"
    )
    delays = []
    for _ in range(5):
        at = terminal(*masked(prod, *python(code)))
        written = float(at.wait_for(f" ready> {canary[:size]}"))
        delays.append(time.monotonic() - written)
        at.type("\n")
        at.finish()
    print(f"\n{size} bytes held back: {min(delays) * 1000:.1f} ms")
    assert min(delays) < SLACK


def test_a_new_size_reaches_the_child_also_where_its_signal_was_there_before(
    program: Program, prod: str, terminal: Open
) -> None:
    sizes = program.folder / "sizes"
    code = (
        "import os, signal, sys\n"
        f"sizes = os.open({str(sizes)!r}, os.O_WRONLY | os.O_CREAT, 0o600)\n"
        "def tell(*_):\n"
        " size = b'%d %d\\n' % os.get_terminal_size(1); os.write(1, size); os.write(sizes, size)\n"
        "signal.signal(signal.SIGWINCH, tell)\n"
        "os.write(1, b'ready\\n')\n"
        "while True: signal.pause()"
    )
    at = terminal(*masked(prod, *python(code)))
    at.wait_for("ready\n")
    for size in ((40, 120), (10, 20)):
        termios.tcsetwinsize(at._keys, size)
        at.wait_for(f"{size[1]} {size[0]}\n")
    at.process.send_signal(signal.SIGSTOP)  # so that we are late
    told = len(sizes.read_text())
    termios.tcsetwinsize(at._keys, (50, 132))
    wait_until(lambda: sizes.read_text()[told:])
    at.process.send_signal(signal.SIGCONT)
    assert "20 10\n" == at.wait_for("132 50\n")[-6:]
    at.type("\x03")
    assert 130 == at.finish()


def test_a_new_size_that_came_before_the_start_is_not_lost(program: Program, terminal: Open) -> None:
    told = program.folder / "told"
    code = (
        "import os, termios\n"
        "from astro_token.masker.outputs import Outputs\n"
        "outputs = Outputs(None)\n"
        "child = os.dup(outputs.file_actions[0][1])\n"
        "termios.tcsetwinsize(0, (50, 132))\n"
        "outputs.start()\n"
        f"open({str(told)!r}, 'w').write(str(termios.tcgetwinsize(child)))\n"
    )
    assert 0 == terminal(sys.executable, "-c", code).finish()
    assert "(50, 132)" == told.read_text()


def test_modes_that_a_program_sets_by_its_output_are_the_terminals(prod: str, terminal: Open) -> None:
    """As those for full-screen programs do, before they wait for a key; and back at the end."""
    code = (
        "import os, termios\n"
        "before = termios.tcgetattr(1); mode = termios.tcgetattr(1)\n"
        "mode[3] &= ~(termios.ECHO | termios.ICANON); termios.tcsetattr(1, termios.TCSADRAIN, mode)\n"
        "os.write(1, b'key? ')\n"
        "os.write(1, b'got ' + os.read(0, 1) + b'\\n')\n"
        "termios.tcsetattr(1, termios.TCSADRAIN, before)\n"
    )
    at = terminal(*masked(prod, *python(code)))
    at.wait_for("key? ")
    wait_until(lambda: not at.echoes())
    before = termios.tcgetattr(at._screen)[1]
    at.type("k")
    assert (0, "key? got k\n", True) == (at.finish(), at.shown, at.echoes())
    assert before & termios.OPOST


def test_a_command_in_the_background_leaves_the_modes_of_the_terminal_alone(
    program: Program, prod: str, terminal: Open
) -> None:
    script = program.work / "modes.py"
    script.write_text(
        "import os, termios, time\n"
        "mode = termios.tcgetattr(1); mode[3] &= ~termios.ECHO; termios.tcsetattr(1, termios.TCSANOW, mode)\n"
        "os.write(1, b'mo' b'des set\\n'); time.sleep(0.2)\n"
    )
    at = terminal("bash", "--norc", "--noprofile", "--noediting", "-i", env={"PS1": "ready> "})
    at.wait_for("ready> ")
    at.type(" ".join([*masked(prod, sys.executable, "-IS", str(script)), "&\n"]))
    at.wait_for("modes set\n")
    at.type("wait; echo status $?\n")
    at.wait_for("status 0\n")
    assert at.echoes()
    at.type("exit\n")
    at.finish()


def test_a_kill_leaves_the_terminal_as_it_was(prod: str, terminal: Open, program: Program) -> None:
    at = terminal(*masked(prod, "sh", "-c", "echo ready; exec sleep 60"))
    before = termios.tcgetattr(at._screen)
    at.wait_for("ready\n")
    at.process.kill()
    at.process.wait(60)
    assert before == termios.tcgetattr(at._screen)


def test_a_daemon_at_a_terminal_goes_on_and_stays_masked(
    program: Program, prod: str, terminal: Open, canary: str
) -> None:
    gate, end = program.folder / "gate", program.folder / "done"
    line = DAEMON.replace("trap '' HUP;", "")
    at = terminal(
        "bash",
        "-c",
        'eval "$LINE"; echo "status $?"; until [ -s "$DONE" ]; do sleep 0.01; done; sleep 0.3',
        env={
            "GATE": str(gate),
            "DONE": str(end),
            "LINE": f"{PROGRAM} exec --mask {prod} -- sh -c '{line.replace(chr(39), '')}'",
        },
    )
    at.wait_for("early ***\n")
    at.wait_for("status 5\n")
    gate.touch()
    for number in range(1, 6):
        at.wait_for(f"late {number} ***\n")
    assert 0 == at.finish()
    assert [] == appearances(canary, at.shown)


def test_an_interactive_shell_in_it_has_its_lines_and_its_keys(prod: str, terminal: Open) -> None:
    """But no job control of its own where it looks for the terminal on its error output, as bash does."""
    at = terminal(*masked(prod, "bash", "--norc", "--noprofile", "-i"), env={"PS1": "inner> "})
    at.wait_for("inner> ")
    at.type("sleep 60\r")
    at.wait_for("sleep 60")
    time.sleep(0.3)
    at.type("\x03")
    at.wait_for("inner> ")
    at.type('echo "[$ASTRO_API_TOKEN]"; exiit\x7f\x7ft 4\r')  # with corrections
    at.wait_for("[***]\n")
    assert 4 == at.finish()


def test_its_benchmark_runs_alone_and_prints_a_ratio_for_each_pair() -> None:
    command = [sys.executable, "-m", "benchmarks.mask", "--runs", "1", "--blocks", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (0, "", 4) == (done.returncode, done.stderr, done.stdout.count(" ms"))
