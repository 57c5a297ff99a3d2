"""At a terminal: its keys, job control, its size, the hidden prompt."""

from __future__ import annotations

import re
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import child
from tests.cli.terminal import Terminal
from tests.conftest import PROGRAM
from tests.timing import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.cli.conftest import Planted
    from tests.conftest import Program

    Open = Callable[..., Terminal]

either_way = pytest.mark.usefixtures("masked_or_not")


@pytest.fixture
def terminal(program: Program) -> Iterator[Open]:
    opened: list[Terminal] = []

    def terminal(
        *command: str, env: Mapping[str, str] | None = None, size: tuple[int, int] = (24, 80)
    ) -> Terminal:
        environ = program.environment({"TERM": "xterm", **(env or {})})
        opened.append(Terminal(command, env=environ, cwd=program.work, size=size))
        return opened[-1].__enter__()

    yield terminal
    for each in opened:
        each.__exit__()


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def has(log: Path, count: int) -> bool:
    return len(lines(log)) >= count


def state(process: str) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


# -- exec -------------------------------------------------------------------------------------------


@either_way
def test_keys_reach_the_child_from_the_terminal_alone(
    program: Program, prod: str, terminal: Open, homes: Path
) -> None:
    """They go to the whole group: passed on by us they would come twice."""
    log = program.folder / "signals"
    at = terminal(str(PROGRAM), "exec", prod, "--", *child("signals", str(log)))
    wait_until(lambda: lines(log))
    for count, key in enumerate(("\x03", "\x1c", "\x03"), start=2):
        at.type(key)
        wait_until(partial(has, log, count))
        time.sleep(0.1)  # for a second one
    # What is sent to us alone is passed on there too.
    at.process.send_signal(signal.SIGTERM)
    wait_until(partial(has, log, 5))
    at.process.send_signal(signal.SIGUSR2)
    assert 7 == at.finish()
    assert [
        "SIGINT terminal",
        "SIGQUIT terminal",
        "SIGINT terminal",
        "SIGTERM parent",
        "SIGUSR2 parent",
    ] == lines(log)[1:]
    assert ("^C^\\^C", []) == (at.shown, list(homes.iterdir()))


@either_way
def test_a_child_that_the_interrupt_key_ends_gives_130(
    program: Program, prod: str, terminal: Open, homes: Path
) -> None:
    at = terminal(str(PROGRAM), "exec", prod, "--", "sh", "-c", "echo ready; exec sleep 60")
    at.wait_for("ready\n")
    at.type("\x03")
    assert (130, "ready\n^C", []) == (at.finish(), at.shown, list(homes.iterdir()))


def test_the_interrupt_key_ends_a_read_that_hangs(planted: Planted, terminal: Open, homes: Path) -> None:
    at = terminal(str(PROGRAM), "exec", "planted:silent", "--", "true")
    wait_until(lambda: planted.log)
    at.type("\x03")
    assert (130, "^C", []) == (at.finish(), at.shown, list(homes.iterdir()))


@either_way
def test_the_child_sees_the_terminal_and_its_size(prod: str, terminal: Open) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size </dev/tty && read line && echo got $line"
    at = terminal(str(PROGRAM), "exec", prod, "--", "sh", "-c", script, size=(33, 101))
    at.wait_for("33 101\n")
    at.type("some words\n")
    assert (0, "33 101\nsome words\ngot some words\n") == (at.finish(), at.shown)


@either_way
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_job_control_of_an_interactive_shell_works(
    program: Program, prod: str, terminal: Open, homes: Path
) -> None:
    log = program.folder / "signals"
    at = terminal("bash", "--norc", "--noprofile", "--noediting", "-i", env={"PS1": "ready> "})
    at.wait_for("ready> ")
    at.type(f"{PROGRAM} exec {prod} -- {' '.join(child('signals', str(log)))}\n")
    wait_until(lambda: lines(log))
    at.type("\x1a")
    at.wait_for("Stopped")
    at.wait_for("ready> ")
    inner = lines(log)[0].split()[1]
    wait_until(lambda: state(inner) == "T")  # the child is stopped as well
    at.type("fg\n")
    at.wait_for("exec")
    wait_until(
        lambda: state(inner) != "T"
    )  # bash hands over the terminal first: the keys are the child's now
    at.type("\x03")
    wait_until(lambda: lines(log)[1:])
    at.type("\x1a")
    at.wait_for("Stopped")
    at.wait_for("ready> ")
    at.type("bg\n")
    at.wait_for("ready> ")
    at.type("kill -INT %1; sleep 0.2; kill -TERM $!; sleep 0.2; kill -USR2 $!; wait $!; echo status $?\n")
    at.wait_for("status 7\n")
    at.wait_for("ready> ")
    at.type("exit\n")
    at.finish()
    # `kill %1` sends to the whole group, as a terminal does; in the background it is passed on besides.
    assert "SIGINT terminal" == lines(log)[1]
    assert ["SIGTERM parent", "SIGUSR2 parent"] == lines(log)[-2:]
    assert [] == list(homes.iterdir())


# -- export -----------------------------------------------------------------------------------------


TO_A_FILE = "write it to a file by --output"


@pytest.mark.parametrize("form", ["auto", "posix", "json", "value"])
def test_export_shows_no_token_on_a_terminal(prod: str, planted: Planted, terminal: Open, form: str) -> None:
    at = terminal(str(PROGRAM), "export", "--format", form, prod)
    call = f"astro-token export {'' if form == 'auto' else '--format posix '}{prod}"
    line = f'evaluate it: out="$({call})" && eval "$out"'
    expected = (
        "astro-token: error: standard output is a terminal, which would show the token\n"
        f"astro-token: hint: use exec, or {line if form in {'auto', 'posix'} else TO_A_FILE}\n"
    )
    assert (73, expected, []) == (at.finish(), at.shown, planted.log)


def test_the_line_of_the_hint_works(prod: str, canary: str, terminal: Open) -> None:
    line = f'out="$({PROGRAM} export {prod})" && eval "$out" && echo "$ASTRO_API_TOKEN" | wc -c'
    at = terminal("sh", "-c", line)
    assert (0, f"{len(canary) + 1}\n") == (at.finish(), at.shown)


# -- check ------------------------------------------------------------------------------------------


def test_a_table_fits_the_terminal_and_keeps_its_colours_to_itself(prod: str, terminal: Open) -> None:
    for size, lines in (((24, 120), 3), ((24, 45), 2 * 11 + 1)):  # a line each, or a block each
        at = terminal(str(PROGRAM), "check", prod, prod, size=size)
        assert (0, size[1] == 120) == (at.finish(), "\x1b[1m" in at.shown)
        assert plain(at.shown).startswith("TOKEN   ")
        assert max(len(line) for line in plain(at.shown).splitlines()) <= max(size[1], 80)
        assert len(plain(at.shown).splitlines()) == lines
    at = terminal(str(PROGRAM), "check", prod, env={"NO_COLOR": "1"})
    assert (0, []) == (at.finish(), [code for code in range(30, 50) if f"\x1b[{code}" in at.shown])


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


# -- put --------------------------------------------------------------------------------------------

PROMPT = "planted:new: Astro API token (not shown): "


def test_put_asks_without_showing_what_is_typed(planted: Planted, canary: str, terminal: Open) -> None:
    at = terminal(str(PROGRAM), "put", "planted:new")
    at.wait_for(PROMPT)
    wait_until(lambda: not at.echoes())
    at.type(f" {canary}\n")
    assert 0 == at.finish()
    assert re.fullmatch(
        rf"{re.escape(PROMPT)}\nastro-token: the token expires at .*, in 89 days\n"
        r"astro-token: stored in planted:new, version 1\n",
        at.shown,
    )
    assert (canary, True) == (planted.stored("new"), at.echoes())


@pytest.mark.parametrize(("keys", "code"), [("\x03", 130), ("\x04", 65), ("\n", 65)])
def test_put_that_is_given_nothing_leaves_the_terminal_as_it_was(
    planted: Planted, terminal: Open, keys: str, code: int
) -> None:
    at = terminal(str(PROGRAM), "put", "planted:new")
    at.wait_for(PROMPT)
    wait_until(lambda: not at.echoes())
    at.type(keys)
    assert (code, True, ["read new", "close"]) == (at.finish(), at.echoes(), planted.log)
    error = (
        "astro-token: error: planted:new: the input contains no token\n"
        "astro-token: hint: pipe the token in, or run put on a terminal and paste it\n"
    )
    assert ("" if code == 130 else error) == at.shown.removeprefix(PROMPT).lstrip("\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_prompt_leaves_the_terminal_as_it_was(
    planted: Planted, terminal: Open, number: signal.Signals
) -> None:
    at = terminal(str(PROGRAM), "put", "planted:new")
    at.wait_for(PROMPT)
    wait_until(lambda: not at.echoes())
    at.process.send_signal(number)
    assert (128 + number, PROMPT, True) == (at.finish(), at.shown, at.echoes())
