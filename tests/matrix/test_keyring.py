"""
`keyring:` meets every fault of a session bus and of a keyring, at each call of a read and of a write.

`make test` runs each fault with one command, another for each fault; `make test-long` all of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from astro_token.testing import make_token
from tests.cli.sweep_process import Forks
from tests.matrix.local import COMMANDS, Run, Surroundings, faulty
from tests.servers.bus_faults import AT_LOGIN, CALL_MODES, LOGIN_MODES, FaultBus
from tests.servers.secret_service import SecretService, session_bus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUS = "DBUS_SESSION_BUS_ADDRESS"
REF = "keyring:s/u"
# Of `put`: the keyring has no entry for a moment while it replaces one, and others read at that time.
WRITTEN = "keyring:s/written"
AT_LOGIN_CODES = {"end": 69, "silence": 75, "rejected": 77, "garbage": 76, "without end": 76}
# Where a wrong answer is noticed, and what it says if it is not: an answer that is no `false` is `true`.
MODE_CODES = {"end": (69,), "half an answer": (69,), "silence": (75,), "garbage": (76,)}
WRONG_ANSWER = (76, 69, 77)
ERRORS = {
    "org.freedesktop.DBus.Error.AccessDenied": 77,
    "org.freedesktop.DBus.Error.NoReply": 75,
    "org.freedesktop.DBus.Error.LimitsExceeded": 69,
    "org.freedesktop.DBus.Error.Spawn.ChildExited": 69,
    "org.freedesktop.DBus.Error.ServiceUnknown": 69,
    "org.freedesktop.Secret.Error.IsLocked": 77,
    "org.freedesktop.Secret.Error.NoSession": 69,
    "org.gnome.keyring.Error.Failed": 69,
}
ERROR_MODES = tuple(ERRORS)


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    with SecretService(tmp_path_factory.mktemp("desktop")) as service:
        yield service


@pytest.fixture
def around(desktop: SecretService, tmp_path: Path, canary: str) -> Iterator[Surroundings]:
    for entry in ("u", "written"):
        desktop.store("s", entry, canary.encode())
    with Forks("astro_token_backends.keyring.client", "astro_token_backends.keyring.secret_service") as forks:
        yield Surroundings(tmp_path, forks, canary, make_token())


def calls(desktop: SecretService, around: Surroundings, command: str) -> int:
    """Return the number of calls that a command makes on its longest connection, without a fault."""
    folder = around.folder / "good"
    folder.mkdir(exist_ok=True)
    with FaultBus(folder, upstream(desktop)) as bus:
        assert [] == faulty(around, [(Run("none", REF, 0, {BUS: bus.address}), command)])
    return bus.most


def upstream(desktop: SecretService) -> str:
    return desktop.environ[BUS].partition("=")[2]


def at_each_call(count: int) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Each mode at the login and at each call, with the codes that are right."""
    for mode in LOGIN_MODES:
        yield mode, AT_LOGIN, (AT_LOGIN_CODES[mode],)
    for number in range(1, count + 1):
        for mode in CALL_MODES:
            yield mode, number, MODE_CODES.get(mode, WRONG_ANSWER)
        for mode, code in ERRORS.items():
            yield mode, number, (code,)


def meet(
    desktop: SecretService, around: Surroundings, cells: list[tuple[str, int, tuple[int, ...], str]]
) -> list[str]:
    with ExitStack() as stack:
        made = []
        for number, (mode, at, codes, command) in enumerate(cells):
            folder = around.folder / f"bus-{number}"
            folder.mkdir()
            bus = FaultBus(folder, upstream(desktop), mode=mode, at=at, text=around.token)
            environ = {BUS: stack.enter_context(bus).address}
            run = Run(
                f"{mode} at {at}",
                WRITTEN if command == "put" else REF,
                codes[0],
                environ,
                also=codes[1:],
                slow=mode == "silence",
                continues=mode == "rejected",
            )
            made.append((run, command))
        made.sort(key=lambda cell: cell[0].code == 75)
        return faulty(around, made)


def test_a_bus_that_fails_ends_as_it_should(desktop: SecretService, around: Surroundings) -> None:
    count = calls(desktop, around, "export")
    assert count > 9
    every = list(at_each_call(count))
    names = [*COMMANDS, "put"]
    # Each call and each mode is there, and each with another command.
    modes = {mode: number for number, mode in enumerate((*CALL_MODES, *ERROR_MODES))}
    chosen = [
        (mode, at, codes, names[(at + modes.get(mode, 0)) % len(names)])
        for mode, at, codes in every
        if at == AT_LOGIN or (at - modes[mode]) % 9 == 0
    ]
    assert {mode for mode, *_ in chosen} == {*LOGIN_MODES, *CALL_MODES, *ERROR_MODES}
    assert {at for _, at, *_ in chosen} == set(range(count + 1))
    assert [] == meet(desktop, around, chosen)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", [*COMMANDS, "put"])
def test_every_command_meets_every_fault_of_a_bus(
    command: str, desktop: SecretService, around: Surroundings
) -> None:
    count = calls(desktop, around, command)
    assert [] == meet(desktop, around, [(*one, command) for one in at_each_call(count)])


def test_a_keyring_at_fault_ends_as_it_should(
    desktop: SecretService, around: Surroundings, tmp_path: Path, canary: str
) -> None:
    values = {
        "empty": b"",
        "a-line-end-only": b"\n",
        "invalid-UTF-8": b"\xff\xfe" + canary.encode(),
        "a-NUL": canary.encode() + b"\0",
        "two-lines": f"{canary}\n{canary}".encode(),
        "half-a-token": canary.encode()[:300],
        "a-byte-too-much": b"x" * (256 * 1024 + 1),
    }
    for name, value in values.items():
        desktop.store("value", name, value)
    for program in ("a", "b"):
        desktop.store("twice", "u", canary.encode(), of=program)
    (tmp_path / "file").write_text("")
    with session_bus(tmp_path) as empty:
        good = desktop.environ
        faults = [
            Run("none", REF, 0, good),
            *(Run(name, f"keyring:value/{name}", 65, good) for name in values),
            Run("twice", "keyring:twice/u", 78, good),
            Run("no entry", "keyring:s/nothing", 66, good, continues=True),
            Run("no service of this name", "keyring:nothing/u", 66, good, continues=True),
            Run("no bus", REF, 77, {}, continues=True),
            Run("no socket", REF, 77, {BUS: f"unix:path={tmp_path}/nothing"}, continues=True),
            Run("a file for a socket", REF, 77, {BUS: f"unix:path={tmp_path}/file"}, continues=True),
            Run("no keyring on the bus", REF, 77, empty, continues=True),
            Run("no address", REF, 78, {BUS: "nowhere"}),
            Run("another transport", REF, 78, {BUS: "tcp:host=127.0.0.1,port=1"}),
            Run(
                "another keyring",
                REF,
                78,
                {**good, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"},
            ),
        ]
        names = (*COMMANDS, "chain")
        cells = [
            (run, "chain" if run.continues else names[number % len(names)])
            for number, run in enumerate(faults)
        ]
        assert [] == faulty(around, cells)
    with desktop.locked():
        locked = Run("locked", REF, 77, desktop.environ)
        assert [] == faulty(around, [(locked, command) for command in ("check two", "chain", "put")])
    assert [] == faulty(around, [(Run("unlocked again", REF, 0, desktop.environ), "export")])
