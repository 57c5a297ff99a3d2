"""Programs are started, watched and stopped, whatever becomes of them."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.servers import processes
from tests.timing import wait_until, within

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print(sorted(os.environ), flush=True)
while True:
    listener.accept()[0].close()
"""


def python(program: str) -> processes.Command:
    return lambda port: [sys.executable, "-I", "-c", program, str(port)]


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 30):
        return True


def test_a_program_runs_with_nothing_inherited_and_ends(tmp_path: Path) -> None:
    with processes.run(python(SERVER), env=lambda _: {"A": "1"}, folder=tmp_path, ready=answers) as port:
        assert answers(port)
        log = (tmp_path / "log").read_text()
        # LC_CTYPE is set by Python itself where there is no locale.
        assert log in {"['A']\n", "['A', 'LC_CTYPE']\n"}
    with pytest.raises(ConnectionRefusedError):
        answers(port)


def test_another_port_is_tried_when_the_program_ends(tmp_path: Path) -> None:
    ports: list[int] = []

    def command(port: int) -> list[str]:
        ports.append(port)
        return [*python(SERVER if len(ports) > 1 else "raise SystemExit(1)")(port)]

    with processes.run(command, env=lambda _: {}, folder=tmp_path, ready=answers) as port:
        assert ports == [ports[0], port]


def test_a_program_that_always_ends_is_given_up_without_its_secrets(tmp_path: Path) -> None:
    program = python("raise SystemExit('the key is hunter2, oh no')")
    with pytest.raises(processes.ServerStartError, match="the key is …, oh no") as raised:
        with processes.run(
            program, env=lambda _: {}, folder=tmp_path, ready=lambda _: False, conceal=["hunter2"]
        ):
            pass
    assert "hunter2" not in str(raised.value)


def test_a_program_that_never_answers_is_stopped(tmp_path: Path) -> None:
    with within(0.3), pytest.raises(processes.ServerStartError):
        with processes.run(
            python("import time; time.sleep(60)"),
            env=lambda _: {},
            folder=tmp_path,
            ready=lambda _: False,
            startup=0.3,
        ):
            pass


def test_a_program_ends_with_the_test_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with processes.run(python(SERVER), env=lambda _: {}, folder=tmp_path, ready=answers) as port:
            raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        answers(port)


def test_waiting_ends_when_it_is_so_and_when_it_takes_too_long() -> None:
    answers = iter([False, True])
    wait_until(lambda: next(answers))
    with pytest.raises(AssertionError, match="in time"):
        wait_until(lambda: False, patience=0.05)
