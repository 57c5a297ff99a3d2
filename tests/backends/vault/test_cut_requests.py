"""
Cut a share of the requests, half before and half after they reach OpenBao: a cold read with a login succeeds.

Completed steps are kept, and the others are repeated until the deadline. No login is left alive but those
whose response was lost: nobody knows their tokens.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from astro_token import AstroTokenError, read_token
from astro_token_backends.vault.client import VaultClient
from astro_token_backends.vault.kv import KeyValue
from tests.backends.vault import service
from tests.backends.vault.service import SECONDS, failure, ref
from tests.conftest import PROGRAM
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer, HttpServer
from tests.timing import wait_until, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Program
    from tests.servers.faults import Mode
    from tests.servers.http1 import Request
    from tests.servers.openbao import OpenBao

READS, RUNS = 1000, 50
SHARE = 0.3
THREADS = 16
TARGET = 0.999
REF = "vault:secret/cut#token"
LOGIN = Answer.json({"auth": {"client_token": "s.x", "lease_duration": 300}})
VALUE = Answer.json({"data": {"data": {"token": "x"}, "metadata": {"version": 1}}})
REVOKE = "/v1/auth/token/revoke-self"


@pytest.fixture
def cut(bao: OpenBao) -> Iterator[FaultServer]:
    """OpenBao behind a proxy that cuts requests."""
    chance = random.Random(11)  # noqa: S311

    def mode(_: int) -> Mode:
        drawn = chance.random() / SHARE
        return "reset" if drawn < 0.5 else "lose-answer" if drawn < 1 else "pass"

    with FaultServer(mode, upstream=bao.address) as server:
        yield server


@pytest.fixture
def environ(bao: OpenBao, cut: FaultServer, canary: str) -> dict[str, str]:
    service.store(bao, "cut", token=canary)
    role = service.approle(bao)
    del role["ROLE"]
    return {"VAULT_ADDR": cut.url, **role}


def logins(openbao: OpenBao) -> set[str]:
    """The accessors of all tokens that are valid."""
    return set(openbao.api("LIST", "auth/token/accessors")["data"]["keys"])


def lost_logins(server: FaultServer) -> set[str]:
    """The accessors in the responses that were cut."""
    contents = [json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}") for answer in server.lost]
    return {content["auth"]["accessor"] for content in contents if content.get("auth")}


@pytest.mark.parametrize(
    "count", [READS // 50, pytest.param(READS, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_cold_reads_succeed(
    count: int, bao: OpenBao, cut: FaultServer, environ: dict[str, str], canary: str
) -> None:
    before = logins(bao)

    def read(_: int) -> bool:
        backend = KeyValue(VaultClient(environ))
        try:
            return read_token(REF, backend=backend).reveal() == canary
        except AstroTokenError:
            return False
        finally:
            backend.close()

    with ThreadPoolExecutor(THREADS) as threads:
        succeeded = sum(threads.map(read, range(count)))
    assert succeeded >= TARGET * count
    assert len(cut.lost) > count / 4  # the proxy has cut
    assert lost_logins(cut) == logins(bao) - before


@pytest.mark.parametrize("count", [RUNS // 50, pytest.param(RUNS, marks=pytest.mark.long)])
def test_commands_succeed(
    count: int, bao: OpenBao, cut: FaultServer, environ: dict[str, str], program: Program
) -> None:
    before = logins(bao)
    for _ in range(count):
        result = program("exec", REF, "--", "true", env=environ)
        assert (0, "", "") == (result.code, result.stdout, result.stderr)
    assert lost_logins(cut) == logins(bao) - before


def test_a_login_and_a_detected_mount_are_kept_for_the_next_attempt(bao: OpenBao, canary: str) -> None:
    service.store(bao, "cut", token=canary)
    modes: list[Mode] = ["lose-answer", "pass", "reset", 503, "pass", "lose-answer", 503, "pass"]
    with FaultServer(
        lambda number: modes[number - 1] if number <= 8 else "pass", upstream=bao.address
    ) as server:
        backend = KeyValue(VaultClient({"VAULT_ADDR": server.url, **service.approle(bao)}))
        assert canary == read_token(REF, backend=backend).reveal()
        backend.close()
        login, mount, secret = (
            "/v1/auth/approle/login",
            "/v1/sys/internal/ui/mounts/secret/cut",
            "/v1/secret/data/cut",
        )
        assert [login] * 2 + [mount] * 3 + [secret] * 3 + [REVOKE] == [
            request.path for request in server.requests
        ]


# -- the revocation -----------------------------------------------------------------------------------


def opened(server: FaultServer) -> KeyValue:
    """A backend that has logged in."""
    backend = KeyValue(VaultClient({"VAULT_ADDR": server.url, "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}))
    backend.read(ref("vault:secret/a?kv=2"), timeout=SECONDS)
    return backend


def test_a_revocation_is_repeated_until_it_is_done_or_was_done() -> None:
    answers: list[Mode] = [LOGIN, VALUE, "reset", 503, 429, 204]
    for last in (204, 403):
        with FaultServer(lambda number: [*answers[:-1], last][min(number, 6) - 1]) as server:  # noqa: B023
            opened(server).close()
            assert [REVOKE] * 4 == [request.path for request in server.requests[2:]]


def test_a_revocation_that_cannot_succeed_is_sent_once() -> None:
    with FaultServer(lambda number: (LOGIN, VALUE, 404)[min(number, 3) - 1]) as server:
        opened(server).close()
        assert [REVOKE] == [request.path for request in server.requests[2:]]


def test_a_login_that_is_under_way_is_revoked_when_the_backend_is_closed() -> None:
    started, go_on = threading.Event(), threading.Event()

    def mode(number: int) -> Mode:
        if number == 1:
            started.set()
            go_on.wait(SECONDS)
        return LOGIN if number == 1 else VALUE

    with FaultServer(mode) as server:
        backend = KeyValue(
            VaultClient({"VAULT_ADDR": server.url, "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"})
        )
        reading = threading.Thread(
            target=lambda: backend.read(ref("vault:secret/a?kv=2"), timeout=SECONDS), daemon=True
        )
        reading.start()
        assert started.wait(SECONDS)
        threading.Timer(0.2, go_on.set).start()
        backend.close()
        assert REVOKE in [request.path for request in server.requests]
        reading.join(SECONDS)


def test_closing_does_not_wait_longer_than_its_second_for_a_login() -> None:
    with FaultServer("hang") as server:
        backend = KeyValue(
            VaultClient({"VAULT_ADDR": server.url, "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"})
        )
        reading = threading.Thread(
            target=lambda: failure(lambda: backend.read(ref(REF), timeout=SECONDS)), daemon=True
        )
        reading.start()
        wait_until(lambda: server.count)
        with within(1):
            backend.close()
    reading.join(SECONDS)


@pytest.mark.parametrize("held", ["/v1/auth/approle/login", "/v1/secret/data/a"])
def test_a_signal_during_the_read_revokes_the_login(held: str, program: Program) -> None:
    """Hold one request until the command has got the signal. The first revocation fails."""
    met, go_on = threading.Event(), threading.Event()
    revocations = [Answer(503), Answer(204)]

    def answer(request: Request) -> Answer:
        if request.path == held:
            met.set()
            go_on.wait(SECONDS)
        if request.path == REVOKE:
            return revocations.pop(0)
        return LOGIN if "login" in request.path else VALUE

    with HttpServer(answer) as server:
        environ = {"VAULT_ADDR": server.url, "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
        command = [str(PROGRAM), "exec", "vault:secret/a?kv=2#token", "--", "true"]
        with subprocess.Popen(
            command,
            env=program.environment(environ),
            cwd=program.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert met.wait(SECONDS)
            process.send_signal(signal.SIGTERM)
            threading.Timer(0.2, go_on.set).start()
            stdout, stderr = process.communicate(timeout=SECONDS)
        assert (128 + signal.SIGTERM, b"", b"") == (process.returncode, stdout, stderr)
        assert [] == revocations
